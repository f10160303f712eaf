//! Bytes that decide, so that any byte string is a program and a smaller one is a simpler program.

use std::collections::BTreeMap;

/// Reads decisions from bytes. When they run out, every decision is the first, simplest one.
#[derive(Debug)]
pub(super) struct Gene<'a> {
    bytes: std::slice::Iter<'a, u8>,
    covered: &'a mut Coverage,
}

impl<'a> Gene<'a> {
    pub(super) fn new(bytes: &'a [u8], covered: &'a mut Coverage) -> Self {
        Gene {
            bytes: bytes.iter(),
            covered,
        }
    }

    /// A number below `options`.
    pub(super) fn below(&mut self, options: u8) -> u8 {
        self.bytes.next().map_or(0, |byte| byte % options)
    }

    /// One of the options.
    pub(super) fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[usize::from(self.below(options.len() as u8))]
    }

    /// One of the options, which are constructs to be counted by their names.
    pub(super) fn construct(&mut self, options: &[(&'static str, &'static str)]) -> &'static str {
        let (name, sql) = self.pick(options);
        self.cover(name);
        sql
    }

    /// True once in `odds`.
    pub(super) fn once_in(&mut self, odds: u8) -> bool {
        self.below(odds) == odds - 1
    }

    /// Counts a construct; the empty name counts nothing.
    pub(super) fn cover(&mut self, name: &'static str) {
        if !name.is_empty() {
            self.covered.count(name);
        }
    }
}

/// How often each construct was generated and compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    /// Counts a construct.
    pub fn count(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    /// Adds what another run covered.
    pub fn merge(&mut self, other: &Coverage) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    /// How often a construct was hit.
    pub fn hits(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Every construct that was hit, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(name, count)| (*name, *count))
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, count) in self.iter() {
            writeln!(f, "{count:>10}  {name}")?;
        }
        Ok(())
    }
}
