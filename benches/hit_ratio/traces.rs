//! The traces: sequences of requests, equal on every run and machine.

/// A request for a response: its number, and the length of its body.
pub type Asked = (u64, usize);

/// A trace, with the name that tables give it.
pub struct Trace {
    pub name: &'static str,
    /// Whether bodies have different lengths.
    pub is_mixed: bool,
    make: fn(&mut Numbers, Scale) -> Vec<Asked>,
}

/// The number of responses that the store has room for, and of requests.
#[derive(Clone, Copy)]
pub struct Scale {
    pub entries: u64,
    pub requests: usize,
}

pub const TRACES: [Trace; 10] = [
    trace("Zipf 0.8", |numbers, scale| popular(numbers, scale, 0.8)),
    trace("Zipf 0.99", |numbers, scale| popular(numbers, scale, 0.99)),
    trace("Zipf 1.2", |numbers, scale| popular(numbers, scale, 1.2)),
    trace("scans", scans),
    trace("one-hit wonders, 70 %", one_hit_wonders),
    trace("loop beside a hot set", loop_beside_a_hot_set),
    trace("hot set that drifts", drifting),
    trace("hot set that jumps", jumping),
    trace("newest first", newest_first),
    Trace {
        name: "100 B to 1 MB",
        is_mixed: true,
        make: mixed_sizes,
    },
];

const fn trace(name: &'static str, make: fn(&mut Numbers, Scale) -> Vec<Asked>) -> Trace {
    Trace {
        name,
        is_mixed: false,
        make,
    }
}

/// The length of all bodies of most traces.
pub const BODY: usize = 150;

impl Trace {
    pub fn requests(&self, scale: Scale) -> Vec<Asked> {
        let add = |seed: u64, byte| seed.wrapping_mul(31) ^ u64::from(byte);
        let seed = self.name.bytes().fold(1, add);
        (self.make)(&mut Numbers(seed), scale)
    }
}

/// A sequence of numbers that look random (SplitMix64).
pub struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn is_one_in(&mut self, parts: u64) -> bool {
        self.next().is_multiple_of(parts)
    }

    /// A number from 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Ranks by popularity: the first is asked for most.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let weights = (1..=count).map(|rank| (rank as f64).powf(-exponent));
        let mut sum = 0.0;
        let add = |weight| {
            sum += weight;
            sum
        };
        Self(weights.map(add).collect())
    }

    fn rank(&self, numbers: &mut Numbers) -> u64 {
        let whole = self.0.last().expect("some ranks");
        let at = numbers.share() * whole;
        self.0.partition_point(|sum| *sum < at) as u64
    }
}

/// Numbers of responses that no rank has.
const OTHERS: u64 = 1 << 40;

/// Makes a trace of numbers, by the number of the request.
fn of_numbers(scale: Scale, mut number: impl FnMut(u64) -> u64) -> Vec<Asked> {
    let requests = 0..scale.requests as u64;
    requests.map(|request| (number(request), BODY)).collect()
}

/// Ten times as many responses as there is room for, of a popularity that does not change.
fn popular(numbers: &mut Numbers, scale: Scale, exponent: f64) -> Vec<Asked> {
    let zipf = Zipf::new(10 * scale.entries, exponent);
    of_numbers(scale, |_| zipf.rank(numbers))
}

/// Ten times, scans go through twice as many responses as there is room for, at half of the
/// requests.
fn scans(numbers: &mut Numbers, scale: Scale) -> Vec<Asked> {
    let zipf = Zipf::new(10 * scale.entries, 0.99);
    let period = scale.requests as u64 / 10;
    let (mut scanned, mut left) = (0, 0);
    of_numbers(scale, |request| {
        if request % period == period / 2 {
            left = 2 * scale.entries;
        }
        if left > 0 && numbers.is_one_in(2) {
            (scanned, left) = (scanned + 1, left - 1);
            return OTHERS + scanned;
        }
        zipf.rank(numbers)
    })
}

/// Seven of ten responses are asked for once.
fn one_hit_wonders(numbers: &mut Numbers, scale: Scale) -> Vec<Asked> {
    let zipf = Zipf::new(10 * scale.entries, 0.99);
    of_numbers(scale, |request| match numbers.next() % 10 {
        0..7 => OTHERS + request,
        _ => zipf.rank(numbers),
    })
}

/// Half of the requests go round and round through half as many responses again as there is room
/// for.
fn loop_beside_a_hot_set(numbers: &mut Numbers, scale: Scale) -> Vec<Asked> {
    let zipf = Zipf::new(scale.entries, 0.9);
    let mut at = 0;
    of_numbers(scale, |_| {
        if numbers.is_one_in(2) {
            at += 1;
            return OTHERS + at % (scale.entries * 3 / 2);
        }
        zipf.rank(numbers)
    })
}

/// Each response becomes more popular until it is the most popular one, and then is not asked for
/// any more.
fn drifting(numbers: &mut Numbers, scale: Scale) -> Vec<Asked> {
    let zipf = Zipf::new(10 * scale.entries, 0.9);
    let moves = 2 * scale.entries;
    let period = (scale.requests as u64 / moves).max(1);
    of_numbers(scale, |request| zipf.rank(numbers) + request / period)
}

/// Ten times, as many responses as half of the store holds become the most popular ones at once.
fn jumping(numbers: &mut Numbers, scale: Scale) -> Vec<Asked> {
    let zipf = Zipf::new(10 * scale.entries, 0.99);
    let period = scale.requests as u64 / 10;
    let first = 5 * scale.entries;
    of_numbers(scale, |request| {
        first + zipf.rank(numbers) - request / period * (scale.entries / 2)
    })
}

/// Each fifth request there is a new response; the newest ones are the most popular.
fn newest_first(numbers: &mut Numbers, scale: Scale) -> Vec<Asked> {
    let zipf = Zipf::new(4 * scale.entries, 0.8);
    of_numbers(scale, |request| OTHERS + request / 5 - zipf.rank(numbers))
}

/// Lengths of 100 bytes to 1 MB: as many of 1 to 10 kB as of 10 to 100 kB.
fn mixed_sizes(numbers: &mut Numbers, scale: Scale) -> Vec<Asked> {
    let zipf = Zipf::new(10 * scale.entries, 0.9);
    let lengths: Vec<usize> = (0..10 * scale.entries)
        .map(|_| (100.0 * 10_000_f64.powf(numbers.share())) as usize)
        .collect();
    let requests = 0..scale.requests;
    let asked = requests.map(|_| {
        let rank = zipf.rank(numbers);
        (rank, lengths[rank as usize])
    });
    asked.collect()
}
