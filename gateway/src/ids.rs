//! Random 128-bit numbers, from the kernel, a page of them at a time. Each worker has its own.

use std::cell::RefCell;

use everline_protocol::RequestId;
use http::HeaderValue;

const NUMBERS: usize = 64;
const NUMBER_BYTES: usize = 16;

/// A stock of numbers that nobody can guess.
#[derive(Debug)]
pub struct Ids(RefCell<Stock>);

#[derive(Debug)]
struct Stock {
    bytes: [u8; NUMBERS * NUMBER_BYTES],
    used: usize,
}

impl Default for Ids {
    fn default() -> Self {
        Self(RefCell::new(Stock {
            bytes: [0; NUMBERS * NUMBER_BYTES],
            used: NUMBERS,
        }))
    }
}

impl Ids {
    /// The id of a pending request: a secret between the gateway and the handset (PROTOCOL 3.3). `None` if the kernel
    /// gives no random numbers.
    pub fn pending(&self) -> Option<RequestId> {
        self.next().map(RequestId)
    }

    /// What a request is called in logs and `X-Request-Id`. A fallback of zeros names nothing, and nothing depends on it.
    pub fn public(&self) -> HeaderValue {
        let id = format!("{:032x}", self.next().unwrap_or_default());
        HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("0"))
    }

    fn next(&self) -> Option<u128> {
        let stock = &mut *self.0.borrow_mut();
        if stock.used >= NUMBERS {
            getrandom::fill(&mut stock.bytes).ok()?;
            stock.used = 0;
        }
        let number = stock
            .bytes
            .as_chunks_mut::<NUMBER_BYTES>()
            .0
            .get_mut(stock.used)?;
        stock.used += 1;
        // A number that was given away is not kept in memory.
        Some(u128::from_ne_bytes(std::mem::take(number)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_number_comes_twice() {
        let ids = Ids::default();
        let given: HashSet<_> = (0..3 * NUMBERS).filter_map(|_| ids.pending()).collect();
        assert_eq!(given.len(), 3 * NUMBERS);
    }
}
