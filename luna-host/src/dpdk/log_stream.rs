//! DPDK's log, kept instead of printed: every line goes to the `log` crate at debug level, and the last few stay here so
//! that an error can say why.

use core::ffi::{c_char, c_int, c_void};
use std::collections::VecDeque;
use std::sync::Mutex;

const KEPT: usize = 64;

static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

#[repr(C)]
struct CookieFunctions {
    read: Option<unsafe extern "C" fn(*mut c_void, *mut c_char, usize) -> isize>,
    write: Option<unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> isize>,
    seek: Option<unsafe extern "C" fn(*mut c_void, *mut i64, c_int) -> c_int>,
    close: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
}

unsafe extern "C" {
    fn fopencookie(cookie: *mut c_void, mode: *const c_char, functions: CookieFunctions) -> *mut libc::FILE;
}

unsafe extern "C" fn write(_cookie: *mut c_void, text: *const c_char, len: usize) -> isize {
    // SAFETY: stdio passes `len` readable bytes.
    let bytes = unsafe { core::slice::from_raw_parts(text.cast::<u8>(), len) };
    for line in String::from_utf8_lossy(bytes).lines().filter(|line| !line.trim().is_empty()) {
        log::debug!(target: "dpdk", "{line}");
        if let Ok(mut lines) = LINES.lock() {
            if lines.len() == KEPT {
                lines.pop_front();
            }
            lines.push_back(line.trim().to_owned());
        }
    }
    len as isize
}

/// Sends DPDK's log here from now on.
pub(super) fn install() {
    let functions = CookieFunctions { read: None, write: Some(write), seek: None, close: None };
    // SAFETY: the functions are valid for the life of the process and the cookie is unused.
    let stream = unsafe { fopencookie(core::ptr::null_mut(), c"w".as_ptr(), functions) };
    if stream.is_null() {
        return;
    }
    // SAFETY: a fresh stream; line buffering keeps lines whole.
    unsafe {
        libc::setvbuf(stream, core::ptr::null_mut(), libc::_IOLBF, 4096);
        dpdk_sys::rte_openlog_stream(stream.cast());
    }
}

/// Forgets what was logged so far: the next error shall quote only its own lines.
pub(super) fn mark() {
    if let Ok(mut lines) = LINES.lock() {
        lines.clear();
    }
}

/// What was logged since [`mark`], the telling lines only; `otherwise` when there was nothing.
pub(super) fn reason(otherwise: &str) -> String {
    let lines = LINES.lock().map(|lines| Vec::from(lines.clone())).unwrap_or_default();
    let told: Vec<&str> = lines
        .iter()
        .map(String::as_str)
        .filter(|line| !line.starts_with("EAL: Detected") && !line.starts_with("EAL: Selected"))
        .collect();
    let last = told.len().saturating_sub(3);
    match told.get(last..) {
        Some(tail) if !tail.is_empty() => tail.join("; "),
        _ => otherwise.to_owned(),
    }
}
