//! The generators of arrays.

use bulkpages_callers::holes::{Random, Request, Shape};

#[test]
fn shapes_have_the_holes_they_promise() {
    let mut random = Random::new(7);
    for n in [1, 8, 259] {
        for holes in 0..=n {
            assert_eq!(Shape::scattered(n, holes, &mut random).holes(), holes);
            for runs in 1..=holes.min(n - holes + 1).min(5) {
                let shape = Shape::clustered(n, holes, runs, &mut random).unwrap();
                let picture = shape.to_string();
                let got = picture.split('x').filter(|run| !run.is_empty()).count();
                assert_eq!((shape.len(), shape.holes(), got), (n, holes, runs), "{picture}");
            }
        }
    }
    assert_eq!(Shape::fraction(100, 0.25, &mut random).unwrap().holes(), 25);
    assert!(Shape::fraction(4, f64::NAN, &mut random).is_err());
    assert!(Shape::clustered(4, 3, 3, &mut random).is_err());
    assert_eq!(Shape::periodic(6, 3).to_string(), ".xx.xx");
    assert_eq!(Shape::parse("x?").unwrap_err().to_string(), "slot 1 of a shape is '?', neither 'x' nor '.'");
}

/// A seed names a shape for good.
#[test]
fn the_stream_is_stable() {
    assert_eq!(Shape::scattered(16, 5, &mut Random::new(1)), Shape::scattered(16, 5, &mut Random::new(1)));
    assert_ne!(Shape::scattered(64, 20, &mut Random::new(1)), Shape::scattered(64, 20, &mut Random::new(2)));
}

#[test]
fn requests_leave_the_holes_of_the_specification() {
    let ranges = Request::MIX.map(|r| r.holes(259).iter().map(|h| (h.start, h.end)).collect::<Vec<_>>());
    assert_eq!(
        ranges,
        [vec![(1, 2)], vec![(1, 259)], vec![(1, 258)], vec![(257, 258)], vec![(0, 16), (256, 257)], vec![(0, 1)]]
    );
    assert!(Request::Write { bytes: 1 << 20 }.holes(67).is_empty());
}
