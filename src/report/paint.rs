//! Colour, where the reader is a terminal.

/// A colour or weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// As it is.
    Plain,
    /// Bold.
    Bold,
    /// Grey.
    Dim,
    /// What is wrong.
    Red,
    /// What is right.
    Green,
    /// What waits.
    Yellow,
}

/// Whether to use colour at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// No colour.
    pub const PLAIN: Paint = Paint(false);

    /// Colour, if asked.
    pub const fn new(colour: bool) -> Paint {
        Paint(colour)
    }

    /// Whether colour is used.
    pub const fn is_on(self) -> bool {
        self.0
    }

    /// A text in an ink.
    pub fn ink(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            _ if !self.0 || text.is_empty() => return text.to_owned(),
            Ink::Plain => return text.to_owned(),
            Ink::Bold => "1",
            Ink::Dim => "2",
            Ink::Red => "31",
            Ink::Green => "32",
            Ink::Yellow => "33",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}
