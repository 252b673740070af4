//! Token buckets against their definition.

use engine::throttle::{Bucket, Inbound, InboundLimits, Rate, Verdict};
use engine::time::Now;
use proptest::prelude::*;

fn at_ms(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: 0 }
}

fn discard(name: &str) -> Verdict {
    Verdict::Discard { announce: Some(name.to_owned()) }
}

#[test]
fn the_defaults_are_those_of_newer_wings() {
    let limits = InboundLimits::default();
    for (event, burst, refill_ms) in [
        ("auth", 2, 5_000u64),
        ("send logs", 2, 5_000),
        ("send command", 10, 1_000),
        ("set state", 4, 1_000),
        ("made up", 4, 1_000),
    ] {
        let mut inbound = Inbound::new(&limits);
        for n in 0..burst {
            assert_eq!(inbound.check(event, at_ms(0)), Verdict::Pass, "{event} {n}");
        }
        if burst < limits.global.burst {
            assert_eq!(inbound.check(event, at_ms(0)), discard(event));
        } else {
            assert_eq!(inbound.check(event, at_ms(0)), discard("global"));
        }
        assert_ne!(inbound.check(event, at_ms(refill_ms - 1)), Verdict::Pass);
        assert_eq!(inbound.check(event, at_ms(refill_ms)), Verdict::Pass, "{event}");
    }
}

#[test]
fn a_period_is_announced_once_and_again_after_a_message_passed() {
    let mut inbound = Inbound::new(&InboundLimits::default());
    assert_eq!(inbound.check("auth", at_ms(0)), Verdict::Pass);
    assert_eq!(inbound.check("auth", at_ms(0)), Verdict::Pass);
    assert_eq!(inbound.check("auth", at_ms(1)), discard("auth"));
    assert_eq!(inbound.check("auth", at_ms(2)), Verdict::Discard { announce: None });
    assert_eq!(inbound.check("auth", at_ms(5_000)), Verdict::Pass);
    assert_eq!(inbound.check("auth", at_ms(5_001)), discard("auth"));
}

#[test]
fn an_event_name_is_not_repeated_at_any_length() {
    let mut inbound = Inbound::new(&InboundLimits::default());
    let name = "ä".repeat(4000);
    let last = (0..5).map(|_| inbound.check(&name, at_ms(0))).last();
    assert_eq!(last, Some(discard(&"ä".repeat(64))));
}

#[test]
fn nothing_is_limited_by_a_rate_of_zero() {
    let mut bucket = Bucket::new(Rate { burst: 0, refill_ms: 0 });
    assert!((0..10_000).all(|_| bucket.take(0)));
}

#[test]
fn a_clock_that_goes_back_and_forth_earns_nothing() {
    let mut bucket = Bucket::new(Rate { burst: 1, refill_ms: 1_000 });
    assert!(bucket.take(5_000));
    assert!(!bucket.take(0));
    assert!(!bucket.take(5_000));
    assert!(bucket.take(6_000));
}

proptest! {
    #[test]
    fn no_window_lets_more_through_than_burst_and_refill(
        burst in 0u32..20,
        refill_ms in 1u32..2_000,
        gaps in prop::collection::vec(0u64..3_000, 1..200),
    ) {
        let mut bucket = Bucket::new(Rate { burst, refill_ms });
        let mut now_ms = 0;
        let mut passed = Vec::new();
        for gap_ms in gaps {
            now_ms += gap_ms;
            if bucket.take(now_ms) {
                passed.push(now_ms);
            }
        }
        for (index, from_ms) in passed.iter().enumerate() {
            for (more, to_ms) in passed.iter().skip(index).enumerate() {
                let allowed = u64::from(burst) + (to_ms - from_ms) / u64::from(refill_ms);
                prop_assert!(u64::try_from(more).unwrap() < allowed.max(1), "{:?}", passed);
            }
        }
    }

    #[test]
    fn a_clock_at_its_ends_or_going_backwards_breaks_nothing(
        burst in any::<u32>(),
        refill_ms in any::<u32>(),
        times in prop::collection::vec(any::<u64>(), 1..50),
    ) {
        let mut bucket = Bucket::new(Rate { burst, refill_ms });
        for at_ms in times {
            bucket.take(at_ms);
        }
    }

    #[test]
    fn whoever_keeps_to_the_rate_always_passes(burst in 1u32..20, refill_ms in 1u32..2_000) {
        let mut bucket = Bucket::new(Rate { burst, refill_ms });
        for n in 0..100 {
            prop_assert!(bucket.take(n * u64::from(refill_ms)));
        }
    }
}
