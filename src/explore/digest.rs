//! Content digests: 128 bits that stand for a value, the same in every run and on every thread.
//!
//! The explorer tells components and states apart by these. For two different ones to get the same digest, 128 well-mixed
//! bits must agree by chance: among 10^9 states that happens with a probability below 2 * 10^-21, far below that of a memory error during
//! the search. A state's digest is the sum of its components' digests, each mixed with its place, so that a step
//! changes it by adding a constant.

use std::hash::{Hash, Hasher};

/// The digest of a value.
pub(crate) fn digest<T: Hash + ?Sized>(value: &T) -> u128 {
    let mut lanes = Lanes::default();
    value.hash(&mut lanes);
    lanes.digest()
}

/// The digest of a component at a place of a state.
pub(super) fn placed(place: u64, component: u128) -> u128 {
    let mut lanes = Lanes::default();
    lanes.write_u64(place);
    lanes.write_u64(component as u64);
    lanes.write_u64((component >> 64) as u64);
    lanes.digest()
}

/// Two lanes of multiply-and-fold, as in wyhash, with different constants.
#[derive(Clone, Copy)]
struct Lanes {
    one: u64,
    other: u64,
}

impl Default for Lanes {
    fn default() -> Self {
        Lanes {
            one: 0x9e37_79b9_7f4a_7c15,
            other: 0xc2b2_ae3d_27d4_eb4f,
        }
    }
}

fn fold(value: u64, by: u64) -> u64 {
    let product = u128::from(value) * u128::from(by);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Lanes {
    fn digest(self) -> u128 {
        let one = fold(self.one ^ 0xa076_1d64_78bd_642f, self.other | 1);
        let other = fold(self.other ^ 0xe703_7ed1_a0b4_28db, self.one | 1);
        (u128::from(fold(one, 0x8ebc_6af0_9c88_c6e3)) << 64) | u128::from(fold(other, 0x5899_65cc_7537_4cc3))
    }
}

impl Hasher for Lanes {
    fn write(&mut self, bytes: &[u8]) {
        self.write_u64(bytes.len() as u64 ^ 0x5851_f42d_4c95_7f2d);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        // Adding an odd constant keeps a lane from getting stuck at a word that cancels it.
        self.one = fold(self.one ^ word, 0xd6e8_feb8_6659_fd93).wrapping_add(0x2545_f491_4f6c_dd1d);
        self.other = fold(self.other.wrapping_add(word), 0x9fb2_1c65_1e98_df25) ^ self.other.rotate_left(29);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.digest() as u64
    }
}

/// A hasher for keys that are digests already.
#[derive(Clone, Copy, Default)]
pub(super) struct Taken(u64);

impl Hasher for Taken {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, word: u128) {
        self.0 = word as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Builds [`Taken`].
pub(super) type TakenState = std::hash::BuildHasherDefault<Taken>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_values_have_digests_without_a_common_word() {
        let mut low = Vec::new();
        let mut high = Vec::new();
        for one in 0..300_u32 {
            for other in 0..300_u32 {
                let digest = digest(&(one, other, "some text"));
                low.push(digest as u64);
                high.push((digest >> 64) as u64);
            }
        }
        for words in [&mut low, &mut high] {
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), 90_000);
        }
    }
}
