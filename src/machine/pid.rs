//! Process identity: stable across interleavings.
//!
//! A process is named by its place in the tree of who started it, not by when it was started, so that
//! two schedules that start the same processes in another order reach equal states.

use smallvec::SmallVec;

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

    /// The name of one of its connections to the database: that of the first is its own. `None` beyond [`Pid::SESSIONS`], and for all but the first
    /// where the path would be deeper than four.
    pub const fn session(self, number: u8) -> Option<Pid> {
        match number {
            0 => Some(self),
            // A process starts at most 250 others, so these are nobody's names.
            1..Self::SESSIONS => self.child(249 + number),
            _ => None,
        }
    }

    /// How many connections a process can have at once.
    pub const SESSIONS: u8 = 5;

    /// Whose connection it is.
    pub const fn owner(self) -> Pid {
        let mut shift = 0;
        while shift < 24 {
            match (self.0 >> shift) & 0xff {
                0 => shift += 8,
                251.. => return Pid(self.0 & !(0xff << shift)),
                _ => return self,
            }
        }
        self
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

/// Roots that change places with each other, each with everything that it started.
///
/// What a symmetry between processes does to their names: see [`Options::symmetry`](crate::explore::Options::symmetry).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Renaming(SmallVec<[u8; 8]>);

impl Renaming {
    /// Everybody keeps its name.
    pub fn identity(roots: usize) -> Renaming {
        Renaming((0..roots).map(|root| root as u8).collect())
    }

    /// The names of the roots, in order.
    pub(crate) fn of(names: &[u8]) -> Renaming {
        Renaming(names.into())
    }

    /// From now on `root` has the name `name`. The caller sees to it that no two have the same one.
    pub(crate) fn set(&mut self, root: u8, name: u8) {
        self.0[usize::from(root)] = name;
    }

    /// The name of a root.
    pub fn top(&self, root: u8) -> u8 {
        self.0.get(usize::from(root)).copied().unwrap_or(root)
    }

    /// The name of a process.
    pub fn pid(&self, pid: Pid) -> Pid {
        Pid(((u32::from(self.top(pid.top())) + 1) << 24) | (pid.0 & 0x00ff_ffff))
    }

    /// This renaming, and then another one.
    #[must_use]
    pub fn then(&self, next: &Renaming) -> Renaming {
        Renaming(self.0.iter().map(|name| next.top(*name)).collect())
    }

    /// The renaming that undoes this one.
    #[must_use]
    pub fn inverse(&self) -> Renaming {
        let mut inverse = Renaming::identity(self.0.len());
        for (root, name) in self.0.iter().enumerate() {
            inverse.set(*name, root as u8);
        }
        inverse
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
    use super::{Pid, Renaming};

    #[test]
    fn renamed_roots_take_their_children_along_and_come_back() {
        let mut swap = Renaming::identity(3);
        swap.set(0, 2);
        swap.set(2, 1);
        swap.set(1, 0);
        let child = Pid::root(0).child(4).expect("depth 2");
        assert_eq!(swap.pid(child).to_string(), "2/4");
        assert_eq!(swap.inverse().pid(swap.pid(child)), child);
        assert_eq!(swap.then(&swap.inverse()), Renaming::identity(3));
        assert_eq!(swap.pid(Pid::root(253)), Pid::root(253));
    }

    #[test]
    fn a_connection_has_a_name_of_its_own_and_knows_its_owner() {
        for process in [Pid::root(0), Pid::root(253), Pid::root(2).child(249).expect("depth 2")] {
            for number in 0..Pid::SESSIONS {
                assert_eq!(process.session(number).map(Pid::owner), Some(process));
            }
            assert_eq!(process.session(Pid::SESSIONS), None);
            assert_ne!(process.session(1), process.session(2));
        }
    }

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
