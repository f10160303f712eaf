//! Process identity: stable across interleavings.
//!
//! A process is named by its place in the tree of who started it, not by when it was started, so that
//! two schedules that start the same processes in another order reach equal states.

/// The identity of a process: a path of at most four small numbers, packed so that it orders like the path.
///
/// A root process of the scenario has one number (its place in the file); a process that another one started (a handler of
/// its first request, say) has its parent's path and the number of the start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(u32);

impl Pid {
    /// The `index`-th root process, from 0. At most 254.
    pub const fn root(index: u8) -> Pid {
        Pid((index as u32 + 1) << 24)
    }

    /// The `index`-th process that this one starts, from 0; `None` when the path would be deeper than four.
    pub const fn child(self, index: u8) -> Option<Pid> {
        let mut shift = 16;
        loop {
            if (self.0 >> shift) & 0xff == 0 {
                return Some(Pid(self.0 | ((index as u32 + 1) << shift)));
            }
            if shift == 0 {
                return None;
            }
            shift -= 8;
        }
    }

    /// Who started it; `None` for a root.
    pub const fn parent(self) -> Option<Pid> {
        let mut shift = 0;
        while shift < 24 {
            if (self.0 >> shift) & 0xff != 0 {
                return Some(Pid(self.0 & !(0xff << shift)));
            }
            shift += 8;
        }
        None
    }

    /// The numbers of the path, each from 0.
    pub fn path(self) -> impl Iterator<Item = u8> {
        self.0
            .to_be_bytes()
            .into_iter()
            .take_while(|byte| *byte != 0)
            .map(|byte| byte - 1)
    }

    /// The root at the top of its path.
    pub const fn top(self) -> u8 {
        ((self.0 >> 24) - 1) as u8
    }
}

impl std::fmt::Display for Pid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (depth, number) in self.path().enumerate() {
            match depth {
                0 => write!(f, "{number}")?,
                _ => write!(f, "/{number}")?,
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Pid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::Pid;

    #[test]
    fn a_path_round_trips_and_orders_parent_before_child() {
        let root = Pid::root(2);
        let child = root.child(0).expect("depth 2");
        let grandchild = child.child(7).expect("depth 3");
        assert_eq!(grandchild.to_string(), "2/0/7");
        assert_eq!(grandchild.parent(), Some(child));
        assert_eq!(child.parent(), Some(root));
        assert_eq!(root.parent(), None);
        assert!(root < child && child < grandchild && grandchild < Pid::root(3));
        assert_eq!(grandchild.child(1).and_then(|deep| deep.child(1)), None);
    }
}
