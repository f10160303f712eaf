//! The server's hash functions (`hash_bytes`, Bob Jenkins' lookup3), as far as they say in which bucket of a new hash index a key lies.

use super::ssi::Page;
use crate::value::Value;

/// The bucket of a key: a new hash index has two.
pub(super) fn bucket(key: &Value) -> Page {
    match key {
        Value::Int(number) => {
            let (low, high) = (*number as u32, (*number >> 32) as u32);
            let folded = low ^ if *number >= 0 { high } else { !high };
            Page::Bucket((of_number(folded) & 1) as u8)
        }
        Value::Text(text) => Page::Bucket((of_bytes(text.as_bytes()) & 1) as u8),
        _ => Page::Only,
    }
}

const SEED: u32 = 0x9e37_79b9;
const OFFSET: u32 = 3_923_095;

fn of_number(number: u32) -> u32 {
    let start = SEED.wrapping_add(4).wrapping_add(OFFSET);
    last(start.wrapping_add(number), start, start)
}

fn of_bytes(bytes: &[u8]) -> u32 {
    let start = SEED.wrapping_add(bytes.len() as u32).wrapping_add(OFFSET);
    let (mut a, mut b, mut c) = (start, start, start);
    let word = |bytes: &[u8]| {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        u32::from_le_bytes(word)
    };
    let mut chunks = bytes.chunks_exact(12);
    for chunk in &mut chunks {
        a = a.wrapping_add(word(&chunk[0..4]));
        b = b.wrapping_add(word(&chunk[4..8]));
        c = c.wrapping_add(word(&chunk[8..12]));
        (a, b, c) = mix(a, b, c);
    }
    let rest = chunks.remainder();
    a = a.wrapping_add(word(&rest[..rest.len().min(4)]));
    b = b.wrapping_add(word(&rest[rest.len().min(4)..rest.len().min(8)]));
    // The lowest byte of the third word is left to the length.
    c = c.wrapping_add(word(&rest[rest.len().min(8)..]) << 8);
    last(a, b, c)
}

fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
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
    (a, b, c)
}

fn last(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

#[cfg(test)]
mod tests {
    use super::{of_bytes, of_number};

    #[test]
    fn hashes_are_the_servers() {
        // select hashint4(1), hashint4(42), hashtext(''), hashtext('a'), hashtext('hello world'), hashtext('abcdefghijklmnopqrstuvwxyz')
        let numbers = [1, 42].map(|number| of_number(number) as i32);
        let texts = ["", "a", "hello world", "abcdefghijklmnopqrstuvwxyz"].map(|text| of_bytes(text.as_bytes()) as i32);
        assert_eq!(numbers, [-1_905_060_026, 1_509_752_520]);
        assert_eq!(texts, [-1_477_818_771, 1_075_015_857, 1_021_725_223, 167_831_483]);
    }
}
