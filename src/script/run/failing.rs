//! What an error does to a process: who catches it, which hooks and transactions it ends, and what of it is a mistake of the file.

use super::*;

impl Interpreter {
    pub(super) fn sql_failed(&mut self, error: &SqlError) {
        let lost = error.code == SqlState::CONNECTION_FAILURE || error.code == SqlState::ADMIN_SHUTDOWN;
        let ended = matches!(
            self.op(),
            Some(Op::Sql {
                control: Control::Commit,
                ..
            })
        );
        if lost || ended {
            self.transaction = Transaction::default();
            self.hooks.clear();
            self.savepoints.clear();
            self.session &= !lost;
        } else if self.transaction.open {
            self.transaction.failed = true;
        }
        if error.code == SqlState::DEADLOCK_DETECTED && !self.expects(error) {
            self.failure = Some(Failure::DeadlockVictim);
        }
        self.raise(Raised::from(error));
    }

    /// Whether something around the present operation names the error, and will handle it.
    pub(super) fn expects(&self, error: &SqlError) -> bool {
        let raised = Raised::from(error);
        for frame in self.frames.iter().rev() {
            let names = match frame {
                Frame::Retry { at, left, .. } if *left > 0 => match self.code.0.ops.get(*at as usize) {
                    Some(Op::Retry { on, .. }) => vec![on],
                    _ => Vec::new(),
                },
                Frame::Try { target, .. } => self.catches(*target),
                _ => Vec::new(),
            };
            if let Some(names) = names.into_iter().find(|names| raised.matches(names)) {
                return names.contains(&raised.code);
            }
        }
        false
    }

    /// The names of the catches that begin there.
    pub(super) fn catches(&self, target: Pc) -> Vec<&Vec<Arc<str>>> {
        let (mut all, mut place) = (Vec::new(), target);
        while let Some(Op::Catch { names, next, .. }) = self.code.0.ops.get(place as usize) {
            all.push(names);
            place = *next;
        }
        all
    }

    // Errors.

    pub(super) fn raise(&mut self, raised: Raised) {
        if self.pc >= self.code.0.epilogue {
            // The farewell itself fails: on with it.
            self.pc += 1;
            return;
        }
        while let Some(frame) = self.frames.pop() {
            match frame {
                Frame::Try { target, errors } => {
                    self.errors.truncate(errors.into());
                    self.errors.push(raised);
                    self.pc = target;
                    return;
                }
                Frame::Retry {
                    again,
                    at,
                    left,
                    errors,
                    open,
                } => {
                    let on = match self.code.0.ops.get(at as usize) {
                        Some(Op::Retry { on, .. }) => on.as_slice(),
                        _ => &[],
                    };
                    if left > 0 && raised.matches(on) {
                        self.errors.truncate(errors.into());
                        let left = left - 1;
                        self.frames.push(Frame::Retry {
                            again,
                            at,
                            left,
                            errors,
                            open,
                        });
                        self.pc = again;
                        return;
                    }
                }
                Frame::Hook { values, .. } => self.values = values,
                Frame::Loop { .. } | Frame::Each { .. } | Frame::Count { .. } => {}
            }
        }
        if let Some(notes) = &self.notes.0 {
            notes.fail(self.code.0.number, &raised.code, self.pc);
        }
        if raised.is_mistake(&self.code.0.expected) {
            self.failure = Some(Failure::Mistake(self.mistake(&raised)));
        } else if raised.is_from_outside() {
            self.failure = Some(Failure::FromOutside);
        }
        self.errors = vec![raised];
        self.state = "failed";
        self.pc = self.code.0.epilogue;
    }

    /// The present operation, and what is wrong with it.
    pub(super) fn mistake(&self, raised: &Raised) -> Arc<str> {
        let code = &self.code.0;
        let what = self.op().map(Op::text).unwrap_or_default();
        let line = match code.lines.get(self.pc as usize) {
            Some(line) => format!(", line {line}"),
            None => String::new(),
        };
        format!("`{what}`{line}: {} ({})", raised.message, raised.code).into()
    }

    pub(super) fn raise_sql(&mut self, error: &SqlError) {
        self.raise(Raised::from(error));
    }

    // From one effect to the next.
}
