//! Page size: how much to ask for at once, learnt from the service's failures. Pure.

/// Finds the page size that a feed bears.
///
/// *Shape*: halves after each failure that less work would have prevented, down to 1, and stays
/// there: what was too much once is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize {
    most: u32,
    now: u32,
}

impl PageSize {
    /// Begins with `most` items a page.
    pub fn new(most: u32) -> Self {
        let most = most.max(1);
        Self { most, now: most }
    }

    /// Returns how many items to ask for; `None` while nothing was learnt.
    pub fn wanted(&self) -> Option<u32> {
        (self.now < self.most).then_some(self.now)
    }

    /// Learns that a page of the present size took the service too long; `false` if it cannot be
    /// smaller.
    pub fn too_large(&mut self) -> bool {
        let smaller = (self.now / 2).max(1);
        let shrinks = smaller < self.now;
        self.now = smaller;
        shrinks
    }
}

#[cfg(test)]
mod tests {
    use super::PageSize;

    #[test]
    fn a_page_is_halved_down_to_one_item_and_stays_small() {
        let mut size = PageSize::new(500);
        assert_eq!(size.wanted(), None);
        let mut seen = Vec::new();
        while size.too_large() {
            seen.extend(size.wanted());
        }
        assert_eq!(seen, [250, 125, 62, 31, 15, 7, 3, 1]);
        assert_eq!(size.wanted(), Some(1));
    }
}
