use super::*;

#[test]
fn only_the_shortfall_is_added() {
    assert_eq!(shortfall(0, 0), Some((0, WANTED)));
    assert_eq!(shortfall(WANTED, WANTED), None);
    // Pages that others use stay theirs.
    assert_eq!(shortfall(300, 100), Some((300, 200 + WANTED)));
}

#[test]
fn a_mount_of_another_page_size_does_not_serve() {
    assert!(hugetlbfs_mounted("none /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0\n"));
    assert!(!hugetlbfs_mounted("none /mnt/huge1G hugetlbfs rw,relatime,pagesize=1024M 0 0\n"));
    assert!(!hugetlbfs_mounted("tmpfs /dev/hugepages tmpfs rw 0 0\n"));
}

#[test]
fn meminfo_is_read_in_kib() {
    assert_eq!(meminfo_available("MemTotal:  24 kB\nMemAvailable:   12345 kB\n").unwrap(), 12345);
    assert!(meminfo_available("MemTotal: 24 kB\n").is_err());
}

#[test]
fn state_survives_a_round_trip_and_an_empty_file_is_no_state() {
    let mut file = tempfile::tempfile().unwrap();
    assert_eq!(read_state(&mut file).unwrap(), State::default());
    let state = State { pages: Some((3, 1027)), mount: Some("/dev/hugepages".into()), keep: true };
    write_state(&mut file, &state).unwrap();
    assert_eq!(read_state(&mut file).unwrap(), state);
    write_state(&mut file, &State::default()).unwrap();
    assert_eq!(read_state(&mut file).unwrap(), State::default());
    file.write_all(b"nonsense").unwrap();
    assert!(read_state(&mut file).is_err());
}

#[test]
fn the_first_runs_number_is_restored_unless_somebody_else_changed_it() {
    assert_eq!(original(None, 7), 7);
    assert_eq!(original(Some((0, 1024)), 1024), 0);
    assert_eq!(original(Some((0, 1024)), 600), 600);
}
