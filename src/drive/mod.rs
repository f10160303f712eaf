//! Drivers beside the explorer: other schedulers, other worlds, the same system.

pub mod loom;
pub mod postgres;
pub mod shuttle;
pub mod storm;

#[cfg(test)]
mod agreement;
mod quiet;
mod turns;
