//! Who has the image's address, and does it answer echo requests?

use core::time::Duration;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Instant;

use luna_core::wire::Checksum;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ADDR: [u8; 4] = [10, 0, 0, 1];
const PEER: [u8; 4] = [10, 0, 0, 2];
/// Payload lengths, up to the MTU.
const LENGTHS: [usize; 4] = [0, 56, 1001, 1472];

/// Asks for the address by ARP, then sends `count` echo requests, and wants every answer to be right.
///
/// # Errors
/// What was wrong, in words.
pub fn ping(local: &Path, remote: &Path, count: u16, patience: Duration) -> Result<String, String> {
    let _ = std::fs::remove_file(local);
    let socket = UnixDatagram::bind(local).map_err(|e| e.to_string())?;
    socket.set_read_timeout(Some(Duration::from_millis(200))).map_err(|e| e.to_string())?;
    let until = Instant::now() + patience;
    // The image may not have booted yet.
    let mac = loop {
        if Instant::now() > until {
            return Err("nobody answers ARP".into());
        }
        let sent = socket.send_to(&arp_request(), remote);
        if sent.is_err() {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        if let Some(mac) = receive(&socket, arp_answer) {
            break mac;
        }
    };
    for seq in 0..count {
        let len = LENGTHS[usize::from(seq) % LENGTHS.len()];
        let request = echo_request(mac, seq, len);
        socket.send_to(&request, remote).map_err(|e| e.to_string())?;
        let wanted = &request[34 + 4..];
        let right = receive(&socket, |frame| {
            let icmp = frame.get(34..34 + 8 + len)?;
            let is_echo = frame[..6] == MAC && frame[12..14] == [8, 0] && frame[23] == 1 && icmp[0] == 0;
            let mut sum = Checksum::new();
            sum.add(icmp);
            (is_echo && frame[26..30] == PEER && icmp[4..] == *wanted).then(|| sum.finish() == 0)
        });
        match right {
            Some(true) => {}
            Some(false) => return Err(format!("the answer to request {seq} has a wrong checksum")),
            None => return Err(format!("no answer to echo request {seq} of {len} bytes")),
        }
    }
    Ok(format!("{count} echo requests answered by {mac:02x?}"))
}

/// The first frame within a second of which `look` makes something.
fn receive<T>(socket: &UnixDatagram, mut look: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
    let mut frame = [0; 2048];
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        if let Ok(len) = socket.recv(&mut frame)
            && let Some(found) = look(&frame[..len])
        {
            return Some(found);
        }
    }
    None
}

fn arp_request() -> Vec<u8> {
    let head = [0xff; 6].into_iter().chain(MAC).chain([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    head.chain(MAC).chain(ADDR).chain([0; 6]).chain(PEER).collect()
}

fn arp_answer(frame: &[u8]) -> Option<[u8; 6]> {
    let body = frame.get(12..42)?;
    let ours = frame[..6] == MAC && body[..2] == [8, 6] && body[8..10] == [0, 2] && body[16..20] == PEER;
    ours.then(|| body[10..16].try_into().ok()).flatten()
}

fn echo_request(mac: [u8; 6], seq: u16, len: usize) -> Vec<u8> {
    let sum_of = |bytes: &[u8]| {
        let mut sum = Checksum::new();
        sum.add(bytes);
        sum.finish().to_be_bytes()
    };
    let mut icmp: Vec<u8> = [8, 0, 0, 0, 0x4c, 0x55].into_iter().chain(seq.to_be_bytes()).collect();
    icmp.extend((0..len).map(|i| (i * 7 + usize::from(seq)) as u8));
    let sum = sum_of(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    let [high, low] = (20 + icmp.len() as u16).to_be_bytes();
    let mut ip: Vec<u8> =
        [0x45, 0, high, low, 0, 1, 0x40, 0, 64, 1, 0, 0].into_iter().chain(ADDR).chain(PEER).collect();
    let sum = sum_of(&ip);
    ip[10..12].copy_from_slice(&sum);
    mac.into_iter().chain(MAC).chain([8, 0]).chain(ip).chain(icmp).collect()
}
