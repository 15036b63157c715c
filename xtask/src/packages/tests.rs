use super::*;

#[test]
fn os_release_decides() {
    assert!(os_release_is_debian("NAME=\"Debian GNU/Linux\"\nID=debian\n"));
    assert!(os_release_is_debian("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"));
    assert!(!os_release_is_debian("NAME=\"not debian\"\nID=fedora\n"));
    assert!(!os_release_is_debian("ID=debianish\n"));
}

#[test]
fn programs_are_probed_in_the_search_path() {
    assert!(program("sh"));
    assert!(!program("no-such-program-of-luna"));
}

#[test]
fn the_cpp_library_is_not_libclang() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("libclang-cpp.so.14"), "").unwrap();
    assert!(!holds(dir.path(), "libclang"));
    fs::write(dir.path().join("libclang-14.so.1"), "").unwrap();
    assert!(holds(dir.path(), "libclang"));
}

#[test]
fn empty_package_lists_ask_for_an_update() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("lock"), "").unwrap();
    assert!(!lists_present(dir.path()));
    fs::write(dir.path().join("deb.debian.org_debian_dists_bookworm_main_binary-amd64_Packages.lz4"), "").unwrap();
    assert!(lists_present(dir.path()));
}
