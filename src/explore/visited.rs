//! The set of visited states: sixteen bytes each, and nothing else.

/// Digests in open addressing with linear probing. Never more than three quarters full.
#[derive(Debug)]
pub(super) struct Visited {
    slots: Vec<u128>,
    count: usize,
    has_zero: bool,
}

const SMALLEST: usize = 1 << 12;

impl Visited {
    pub(super) fn new() -> Self {
        Visited {
            slots: vec![0; SMALLEST],
            count: 0,
            has_zero: false,
        }
    }

    /// Whether the digest is there.
    pub(super) fn contains(&self, digest: u128) -> bool {
        if digest == 0 {
            return self.has_zero;
        }
        let mask = self.slots.len() - 1;
        let mut place = digest as usize & mask;
        while self.slots[place] != 0 {
            if self.slots[place] == digest {
                return true;
            }
            place = (place + 1) & mask;
        }
        false
    }

    /// Adds a digest; false if it was there.
    pub(super) fn insert(&mut self, digest: u128) -> bool {
        if digest == 0 {
            return !std::mem::replace(&mut self.has_zero, true);
        }
        let mask = self.slots.len() - 1;
        let mut place = digest as usize & mask;
        while self.slots[place] != 0 {
            if self.slots[place] == digest {
                return false;
            }
            place = (place + 1) & mask;
        }
        self.slots[place] = digest;
        self.count += 1;
        if self.count * 4 > self.slots.len() * 3 {
            self.grow();
        }
        true
    }

    /// What the set takes, in bytes, counting what the next doubling needs while it copies.
    pub(super) fn bytes(&self) -> u64 {
        let now = self.slots.len() as u64 * 16;
        if self.count * 8 > self.slots.len() * 5 {
            now * 3
        } else {
            now
        }
    }

    fn grow(&mut self) {
        let mut slots = vec![0; self.slots.len() * 2];
        let mask = slots.len() - 1;
        for digest in self.slots.iter().copied().filter(|digest| *digest != 0) {
            let mut place = digest as usize & mask;
            while slots[place] != 0 {
                place = (place + 1) & mask;
            }
            slots[place] = digest;
        }
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use super::Visited;
    use crate::explore::digest::digest;

    #[test]
    fn every_digest_is_new_once() {
        let mut visited = Visited::new();
        assert!(visited.insert(0) && !visited.insert(0) && visited.contains(0));
        for number in 0..20_000_u64 {
            assert!(!visited.contains(digest(&number)) && visited.insert(digest(&number)));
        }
        for number in 0..20_000_u64 {
            assert!(visited.contains(digest(&number)) && !visited.insert(digest(&number)));
        }
    }
}
