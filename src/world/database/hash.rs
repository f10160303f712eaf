//! `hash_any` of the server, for `hashtext`, `hashtextextended` and the buckets of hash indexes: Bob Jenkins' lookup3, little endian, bit for bit.

/// The state after the last bytes.
fn state(bytes: &[u8], seed: u64) -> (u32, u32, u32) {
    let start = 0x9e37_79b9_u32.wrapping_add(bytes.len() as u32).wrapping_add(3_923_095);
    let mut s = [start; 3];
    if seed != 0 {
        s[0] = s[0].wrapping_add((seed >> 32) as u32);
        s[1] = s[1].wrapping_add(seed as u32);
        mix(&mut s);
    }
    let mut blocks = bytes.chunks_exact(12);
    for block in &mut blocks {
        for (word, part) in s.iter_mut().zip(block.chunks_exact(4)) {
            *word = word.wrapping_add(part.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte)));
        }
        mix(&mut s);
    }
    for (place, byte) in blocks.remainder().iter().enumerate() {
        // The lowest byte of the last word is left to the length.
        let shift = if place < 8 { place % 4 } else { place % 4 + 1 };
        s[place / 4] = s[place / 4].wrapping_add(u32::from(*byte) << (8 * shift));
    }
    let [mut a, mut b, mut c] = s;
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    (a, b, c)
}

fn mix(s: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *s;
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    *s = [a, b, c];
}

/// `hashtext`.
pub(crate) fn text(bytes: &[u8]) -> i32 {
    state(bytes, 0).2 as i32
}

/// `hashtextextended`.
pub(crate) fn text_extended(bytes: &[u8], seed: i64) -> i64 {
    let (_, b, c) = state(bytes, seed as u64);
    ((u64::from(b) << 32) | u64::from(c)) as i64
}
