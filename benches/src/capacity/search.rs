//! Which number is tried next: doubling, then bisection.

/// A search for the highest number that holds, to a twentieth of it.
#[derive(Clone, Debug)]
pub struct Search {
    next: u32,
    limit: u32,
    held: u32,
    failed: Option<u32>,
    /// Numerator and denominator of the step while one end is not known.
    step: (u32, u32),
}

impl Search {
    /// Begins with `start` and doubles it until a number does not hold; halves it when it does not hold
    /// itself.
    pub fn new(start: u32, limit: u32) -> Self {
        Self {
            next: start.clamp(1, limit.max(1)),
            limit: limit.max(1),
            held: 0,
            failed: None,
            step: (2, 1),
        }
    }

    /// Begins with the result of an earlier search, and goes away from it in steps of a quarter.
    pub fn near(found: u32, limit: u32) -> Self {
        Self {
            step: (5, 4),
            ..Self::new(found, limit)
        }
    }

    /// The number to try; `None` when the search has ended.
    pub fn next(&self) -> Option<u32> {
        let end = self.failed.unwrap_or(self.limit + 1);
        let is_found = end - self.held <= (self.held / 20).max(1);
        (!is_found).then_some(self.next)
    }

    /// Takes the result of a number.
    pub fn record(&mut self, number: u32, holds: bool) {
        if holds {
            self.held = self.held.max(number);
        } else {
            self.failed = Some(self.failed.map_or(number, |failed| failed.min(number)));
        }
        let (more, less) = (u64::from(self.step.0), u64::from(self.step.1));
        let number = u64::from(number);
        let next = match (self.held, self.failed) {
            (held, Some(failed)) if held > 0 => u64::from(held + (failed - held) / 2),
            (_, Some(_)) => number * less / more,
            (_, None) => (number * more / less).max(number + 1),
        };
        let next = u32::try_from(next).unwrap_or(u32::MAX);
        self.next = next.clamp(1, self.limit);
    }

    /// Highest number that held; 0 when none did.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Lowest number that did not hold.
    pub fn failed(&self) -> Option<u32> {
        self.failed
    }
}
