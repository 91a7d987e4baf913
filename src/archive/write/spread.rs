//! A bounded sample, evenly spread over a sequence of unknown length.

/// All items of a short sequence; of a long one every second, fourth, eighth, …, the first included.
#[derive(Debug, Clone)]
pub struct Spread<T> {
    kept: Vec<T>,
    offered: u64,
    /// Every how many are kept.
    every: u64,
}

impl<T> Default for Spread<T> {
    fn default() -> Self {
        Spread {
            kept: Vec::new(),
            offered: 0,
            every: 1,
        }
    }
}

impl<T> Spread<T> {
    /// Maximum number of items kept.
    const MOST: usize = 32;

    /// Takes the next item of the sequence, which is made only if it is kept.
    pub fn offer(&mut self, item: impl FnOnce() -> T) {
        if self.kept.len() == Self::MOST {
            let mut n = 0;
            self.kept.retain(|_| {
                n += 1;
                n % 2 == 1
            });
            self.every *= 2;
        }
        if self.offered.is_multiple_of(self.every) {
            self.kept.push(item());
        }
        self.offered += 1;
    }

    /// The items kept, in their order.
    pub fn into_kept(self) -> Vec<T> {
        self.kept
    }
}
