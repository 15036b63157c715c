use std::os::unix::fs::symlink;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn name(text: &str) -> BlobName {
    BlobName::parse(text.as_bytes()).unwrap()
}

fn store() -> (TempDir, Store) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn files(dir: &TempDir) -> Vec<String> {
    fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_blob_comes_back_with_its_hash() {
    let (_dir, store) = store();
    let mut put = store.put(&name("a b.so"), 3).unwrap();
    put.write(0, b"ab").unwrap();
    put.write(2, b"c").unwrap();
    assert_eq!(hex(&put.commit().unwrap()), ABC);
    let blob = store.get(&name("a b.so")).unwrap();
    let mut bytes = [0; 3];
    blob.read(0, &mut bytes).unwrap();
    assert_eq!((blob.size(), &bytes), (3, b"abc"));
    assert_eq!(hex(&blob.duplicate().unwrap().hash().unwrap()), ABC);
    assert!(matches!(blob.read(2, &mut bytes), Err(StoreError::Io { .. })));
}

#[test]
fn names_that_leave_the_root_are_refused() {
    for bad in ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "a\0b", "a\nb", ".luna-put-1-1", &"x".repeat(201)]
    {
        assert!(matches!(BlobName::parse(bad.as_bytes()), Err(StoreError::Name(_))), "{bad:?}");
    }
    assert!(BlobName::parse(b"\xff").is_err());
    for good in ["a", "a..b", "librustc_driver-0123.so", "päckchen", &"x".repeat(200)] {
        name(good);
    }
}

#[test]
fn an_unfinished_put_is_invisible_and_leaves_nothing() {
    let (dir, store) = store();
    let mut put = store.put(&name("x"), 10).unwrap();
    put.write(0, b"12345").unwrap();
    assert!(matches!(store.get(&name("x")), Err(StoreError::NotFound(_))));
    assert!(matches!(put.commit(), Err(StoreError::Incomplete { arrived: 5, size: 10 })));
    assert_eq!(files(&dir), Vec::<String>::new());
}

#[test]
fn a_new_put_replaces_the_blob_at_once_and_open_readers_keep_the_old_one() {
    let (_dir, store) = store();
    let mut first = store.put(&name("x"), 3).unwrap();
    first.write(0, b"old").unwrap();
    first.commit().unwrap();
    let reader = store.get(&name("x")).unwrap();
    let mut second = store.put(&name("x"), 3).unwrap();
    second.write(0, b"new").unwrap();
    second.commit().unwrap();
    let mut bytes = [0; 3];
    reader.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"old");
    store.get(&name("x")).unwrap().read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"new");
}

#[test]
fn chunks_out_of_order_and_beyond_the_end_change_nothing() {
    let (_dir, store) = store();
    let mut put = store.put(&name("x"), 3).unwrap();
    put.write(0, b"a").unwrap();
    assert!(matches!(put.write(2, b"c"), Err(StoreError::Offset { offset: 2, expected: 1 })));
    assert!(matches!(put.write(1, b"bcd"), Err(StoreError::TooLong { end: 4, size: 3 })));
    put.write(1, b"bc").unwrap();
    assert_eq!(hex(&put.commit().unwrap()), ABC);
}

#[test]
fn what_a_crashed_server_left_is_removed_and_what_a_running_one_writes_is_not() {
    let (dir, store) = store();
    let running = store.put(&name("x"), 3).unwrap();
    fs::write(dir.path().join(".luna-put-1-1"), b"half").unwrap();
    fs::write(dir.path().join("blob"), b"whole").unwrap();
    Store::open(dir.path()).unwrap();
    let mut left = files(&dir);
    left.sort();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(running.temporary.exists() && left.contains(&"blob".to_owned()));
}

#[test]
fn links_and_directories_are_no_blobs() {
    let (dir, store) = store();
    symlink("/etc/passwd", dir.path().join("link")).unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    assert!(matches!(store.get(&name("link")), Err(StoreError::NotAFile(_))));
    assert!(matches!(store.get(&name("dir")), Err(StoreError::NotAFile(_))));
}

#[test]
fn a_size_that_no_disk_has_is_refused_at_once_and_leaves_nothing() {
    let (dir, store) = store();
    assert!(matches!(store.put(&name("x"), 1 << 60), Err(StoreError::NoSpace { .. })));
    assert!(store.put(&name("x"), u64::MAX).is_err());
    assert_eq!(files(&dir), Vec::<String>::new());
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let (dir, _store) = store();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(Store::open(&file).unwrap_err().to_string().contains("file"));
}

proptest! {
    #[test]
    fn the_hash_is_that_of_the_bytes_however_they_are_cut(bytes: Vec<u8>, cuts in prop::collection::vec(1usize..50, 0..20)) {
        let (_dir, store) = store();
        let mut put = store.put(&name("x"), bytes.len() as u64).unwrap();
        let mut at = 0usize;
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let end = at.saturating_add(cut).min(bytes.len());
            put.write(at as u64, &bytes[at..end]).unwrap();
            at = end;
        }
        let whole: Hash = Sha256::digest(&bytes).into();
        prop_assert_eq!(put.commit().unwrap(), whole);
        prop_assert_eq!(store.get(&name("x")).unwrap().hash().unwrap(), whole);
    }
}
