use super::super::testing::pool;
use super::*;

#[test]
fn bytes_written_on_another_thread_arrive() {
    let pool = pool(1, 2048);
    let mut parcel = Parcel::new(pool.alloc().unwrap());
    assert_eq!(parcel.set_len(10_000), 2048);
    parcel.set_len(5);
    let parcel = std::thread::scope(|s| {
        s.spawn(move || {
            parcel.copy_from_slice(b"hello");
            parcel
        })
        .join()
        .unwrap()
    });
    assert_eq!(&parcel.open(&pool).unwrap()[..], b"hello");
    assert_eq!(pool.outstanding(), 0);
}

#[test]
fn only_the_owner_opens_a_parcel_and_only_unique_objs_become_one() {
    let (mine, other) = (pool(1, 2048), pool(1, 2048));
    let parcel = Parcel::new(mine.alloc().unwrap());
    let parcel = parcel.open(&other).unwrap_err();
    let buf = parcel.open(&mine).unwrap().freeze();
    let second = buf.clone();
    let buf = Parcel::try_from(buf).unwrap_err();
    drop(second);
    drop(Parcel::try_from(buf).unwrap());
    assert_eq!(mine.outstanding(), 0);
}
