//! In which bucket of a new hash index a key lies.

use super::ssi::Page;
use crate::value::Value;
use crate::world::database::hash;

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

/// `hashint4`: of the four bytes of the number.
fn of_number(number: u32) -> u32 {
    of_bytes(&number.to_le_bytes())
}

fn of_bytes(bytes: &[u8]) -> u32 {
    hash::text(bytes) as u32
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
