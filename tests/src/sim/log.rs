//! The packet log of a run: a digest always, lines and a capture when asked for.

use core::time::Duration;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, TsResolution};

use super::events::Time;
use super::frame::{Frame, Segment};

/// A record: a frame that was sent, or what somebody did.
struct Record {
    at: Time,
    text: String,
    /// What goes into the capture.
    bytes: Option<Vec<u8>>,
}

/// The log.
#[derive(Default)]
pub struct Log {
    digest: u64,
    records: Option<Vec<Record>>,
}

/// What happened to a frame, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A stack sent it.
    Sent,
    /// A stack took it.
    Taken,
    /// It was made up by the attacker.
    Forged,
    /// It did not get through.
    Lost(&'static str),
    /// It changed on the way.
    Corrupted,
}

impl Log {
    /// A log that keeps everything.
    #[must_use]
    pub fn full() -> Self {
        Self { digest: 0, records: Some(Vec::new()) }
    }

    /// Whether it keeps anything but the digest.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.records.is_some()
    }

    fn mix(&mut self, word: u64) {
        self.digest = (self.digest.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// Adds a frame at a place of the network.
    pub fn frame(&mut self, at: Time, place: usize, what: What, frame: &Frame) {
        self.mix(at);
        self.mix(place as u64);
        let (chunks, rest) = frame.bytes.as_chunks::<8>();
        for chunk in chunks {
            self.mix(u64::from_le_bytes(*chunk));
        }
        for byte in rest {
            self.mix(u64::from(*byte));
        }
        let Some(records) = &mut self.records else { return };
        let mut text = match what {
            What::Sent => format!("[{place}] >"),
            What::Taken => format!("[{place}] <"),
            What::Forged => format!("[{place}] forged"),
            What::Lost(why) => format!("   ({place}) lost, {why}:"),
            What::Corrupted => format!("   ({place}) corrupted:"),
        };
        match Segment::read(&frame.bytes, false) {
            Ok(seg) => text += &format!(" {seg}"),
            Err(e) => text += &format!(" {} bytes: {e}", frame.bytes.len()),
        }
        let captured = matches!(what, What::Sent | What::Forged);
        records.push(Record { at, text, bytes: captured.then(|| frame.bytes.clone()) });
    }

    /// Adds a line.
    pub fn note(&mut self, at: Time, text: impl FnOnce() -> String) {
        if let Some(records) = &mut self.records {
            records.push(Record { at, text: text(), bytes: None });
        }
    }

    /// What tells this log from others.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Every line.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let records = self.records.as_deref().unwrap_or_default();
        records.iter().map(|r| format!("{:>14.6} ms  {}", r.at as f64 / 1e6, r.text))
    }

    /// Writes every line.
    ///
    /// # Errors
    /// As writing does.
    pub fn write_text(&self, path: &Path) -> io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        for line in self.lines() {
            writeln!(out, "{line}")?;
        }
        out.flush()
    }

    /// Writes a capture of every frame that was sent.
    ///
    /// # Errors
    /// As writing does.
    pub fn write_capture(&self, path: &Path) -> io::Result<()> {
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::NanoSecond,
            ..PcapHeader::default()
        };
        let out = BufWriter::new(File::create(path)?);
        let mut writer = PcapWriter::with_header(out, header).map_err(io::Error::other)?;
        for r in self.records.iter().flatten() {
            if let Some(bytes) = &r.bytes {
                let packet = PcapPacket::new(Duration::from_nanos(r.at), bytes.len() as u32, bytes);
                writer.write_packet(&packet).map_err(io::Error::other)?;
            }
        }
        writer.into_writer().flush()
    }
}
