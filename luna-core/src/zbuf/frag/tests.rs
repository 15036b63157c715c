use super::super::testing::pool;
use super::*;

#[test]
fn a_zbuf_goes_in_and_comes_out() {
    let pool = pool(1, 2048);
    let mut m = pool.alloc().unwrap();
    m.append(9).unwrap().copy_from_slice(b"123456789");
    let frag = Frag::header(m.freeze());
    assert!(frag.is_header() && !frag.is_foreign() && !frag.is_revoked());
    let part = frag.slice(2, 3);
    assert!(part.is_header());
    assert_eq!(part.bytes(), Some(&b"345"[..]));
    let end = frag.slice(9, 5);
    assert!(end.is_empty());
    drop(frag);
    assert_eq!(pool.outstanding(), 1);
    drop(end);
    let mut out = [0; 2];
    assert_eq!(part.copy_to(&mut out), Some(2));
    assert_eq!(&out, b"34");
    assert_eq!(&part.into_zbuf().unwrap()[..], b"345");
    assert_eq!(pool.outstanding(), 0);
}
