//! Numbers modulo 2^p - 1, in words of 32 bits: reduction is adding the high part to the low one.

/// A number below 2^p; 2^p - 1 itself stands for 0 as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Residue {
    exponent: u32,
    words: Vec<u32>,
    /// Room for a square.
    square: Vec<u32>,
}

impl Residue {
    pub(crate) fn new(exponent: u32, value: u32) -> Self {
        let length = exponent.div_ceil(32) as usize;
        let mut words = vec![0; length];
        words[0] = value;
        let mut residue = Self { exponent, words, square: vec![0; 2 * length] };
        residue.normalise();
        residue
    }

    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        into.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
    }

    /// Nothing if the bytes are no number of this size.
    pub(crate) fn read(exponent: u32, bytes: &[u8]) -> Option<Self> {
        let mut residue = Self::new(exponent, 0);
        let (words, []) = bytes.as_chunks() else { return None };
        if words.len() != residue.words.len() {
            return None;
        }
        for (to, from) in residue.words.iter_mut().zip(words) {
            *to = u32::from_le_bytes(*from);
        }
        (residue.top() == 0).then_some(residue)
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    pub(crate) fn low_64(&self) -> u64 {
        let high = self.words.get(1).copied().unwrap_or(0);
        u64::from(self.words[0]) | u64::from(high) << 32
    }

    /// x * x - 2.
    pub(crate) fn square_less_two(&mut self) {
        self.multiply();
        self.fold();
        // Minus 2 is plus 2^p - 3.
        let mut borrow = 2;
        for word in &mut self.words {
            let (left, under) = word.overflowing_sub(borrow);
            *word = left;
            borrow = u32::from(under);
            if borrow == 0 {
                break;
            }
        }
        if borrow == 1 {
            // Below zero: 2^p - 1 is added, which the words above 2^p have swallowed.
            self.clear_top();
            self.subtract_one();
        }
        self.normalise();
    }

    /// The square, each pair of words once and doubled.
    fn multiply(&mut self) {
        let n = self.words.len();
        self.square.fill(0);
        for i in 0..n {
            let mut carry = 0;
            let a = u64::from(self.words[i]);
            for j in i + 1..n {
                let sum = a * u64::from(self.words[j]) + u64::from(self.square[i + j]) + carry;
                self.square[i + j] = sum as u32;
                carry = sum >> 32;
            }
            self.square[i + n] = carry as u32;
        }
        let (mut carry, mut high) = (0, 0);
        for i in 0..n {
            let own = u64::from(self.words[i]) * u64::from(self.words[i]);
            for (at, add) in [(2 * i, own & 0xffff_ffff), (2 * i + 1, own >> 32)] {
                let twice = self.square[at] << 1 | high;
                high = self.square[at] >> 31;
                let sum = u64::from(twice) + add + carry;
                self.square[at] = sum as u32;
                carry = sum >> 32;
            }
        }
    }

    /// Adds the part of the square from bit p on to the part below.
    fn fold(&mut self) {
        let n = self.words.len();
        let (skip, shift) = (self.exponent as usize / 32, self.exponent % 32);
        let mut carry = 0;
        for i in 0..n {
            let at = |k: usize| u64::from(self.square.get(k).copied().unwrap_or(0));
            let high = (at(skip + i) | at(skip + i + 1) << 32) >> shift & 0xffff_ffff;
            let low = if i + 1 == n { at(i) & self.top_mask() } else { at(i) };
            let sum = low + high + carry;
            self.words[i] = sum as u32;
            carry = sum >> 32;
        }
        // With p a multiple of 32 the last carry is bit p.
        self.add(carry as u32);
        self.normalise();
    }

    /// The bits of the last word that are below 2^p.
    fn top_mask(&self) -> u64 {
        match self.exponent % 32 {
            0 => 0xffff_ffff,
            bits => (1 << bits) - 1,
        }
    }

    /// What is above 2^p.
    fn top(&self) -> u32 {
        match self.exponent % 32 {
            0 => 0,
            bits => self.words[self.words.len() - 1] >> bits,
        }
    }

    fn clear_top(&mut self) {
        let (mask, last) = (self.top_mask() as u32, self.words.len() - 1);
        self.words[last] &= mask;
    }

    fn add(&mut self, value: u32) {
        let mut carry = value;
        for word in &mut self.words {
            let (sum, over) = word.overflowing_add(carry);
            *word = sum;
            carry = u32::from(over);
            if carry == 0 {
                return;
            }
        }
    }

    fn subtract_one(&mut self) {
        for word in &mut self.words {
            let (left, under) = word.overflowing_sub(1);
            *word = left;
            if !under {
                return;
            }
        }
    }

    /// Below 2^p, and 0 for 2^p - 1.
    fn normalise(&mut self) {
        while self.top() > 0 {
            let top = self.top();
            self.clear_top();
            self.add(top);
        }
        let mask = self.top_mask() as u32;
        let (last, rest) = self.words.split_last().expect("at least one word");
        if *last == mask && rest.iter().all(|&word| word == u32::MAX) {
            self.words.fill(0);
        }
    }
}
