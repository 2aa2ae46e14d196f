//! The file around a film (ISO/IEC 14496-12 and -15): one track of H.264, its index before its pictures.

use std::time::Duration;

use time::OffsetDateTime;

use super::h264::{Frame, PROFILE};

/// One picture of a film.
#[derive(Debug)]
pub(super) struct Sample {
    /// A NAL unit.
    pub(super) unit: Vec<u8>,
    /// Whether it can be shown without those before it.
    pub(super) whole: bool,
}

/// Units of time in a second.
const TIMESCALE: u32 = 1_000;

/// Seconds from 1904, from which files count, to 1970.
const EPOCH_S: i64 = 2_082_844_800;

/// A transformation that changes nothing, as fixed point numbers.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// What a film's index is made from.
pub(super) struct Film<'a> {
    /// Any of its frames: it has the size.
    pub(super) frame: &'a Frame,
    pub(super) sequence: &'a [u8],
    pub(super) pictures: &'a [u8],
    pub(super) samples: &'a [Sample],
    /// How long each picture is shown.
    pub(super) each: Duration,
    pub(super) at: OffsetDateTime,
}

impl Film<'_> {
    /// The file.
    pub(super) fn file(&self) -> Vec<u8> {
        let brands = boxed(
            *b"ftyp",
            &[b"isom", &0x200_u32.to_be_bytes(), b"isomiso2avc1mp41"],
        );
        // Where the pictures begin does not change how long the index is.
        let before = brands.len() + self.index(0).len() + 8;
        let mut file = brands;
        file.extend(self.index(number(before)));
        let pictures = self.samples.iter().flat_map(|sample| {
            let length = number(sample.unit.len()).to_be_bytes();
            length.into_iter().chain(sample.unit.iter().copied())
        });
        file.extend(boxed(*b"mdat", &[&pictures.collect::<Vec<u8>>()]));
        file
    }

    fn duration(&self) -> u32 {
        number(self.samples.len()).saturating_mul(self.each_units())
    }

    fn each_units(&self) -> u32 {
        u32::try_from(self.each.as_millis()).unwrap_or(u32::MAX)
    }

    /// When it was made, twice: the second is when it was changed.
    fn made(&self) -> [u32; 2] {
        [u32::try_from(self.at.unix_timestamp() + EPOCH_S).unwrap_or_default(); 2]
    }

    fn index(&self, pictures_at: u32) -> Vec<u8> {
        let mut header = Words::version(0);
        header.words(&self.made());
        header.words(&[TIMESCALE, self.duration(), 0x1_0000]); // rate 1
        header.words(&[0x0100_0000, 0, 0]); // volume 1
        header.words(&MATRIX);
        header.words(&[0; 6]);
        header.words(&[2]); // the next track's id
        boxed(
            *b"moov",
            &[&boxed(*b"mvhd", &[&header.0]), &self.track(pictures_at)],
        )
    }

    fn track(&self, pictures_at: u32) -> Vec<u8> {
        let mut header = Words::version(3); // enabled, in the movie
        header.words(&self.made());
        header.words(&[1, 0, self.duration(), 0, 0, 0, 0]); // id
        header.words(&MATRIX);
        header.words(&[
            number(self.frame.width()) << 16,
            number(self.frame.height()) << 16,
        ]);
        let mut media = Words::version(0);
        media.words(&self.made());
        media.words(&[TIMESCALE, self.duration()]);
        media.words(&[0x55c4_0000]); // language: undetermined
        let mut handler = Words::version(0);
        handler.words(&[0, u32::from_be_bytes(*b"vide"), 0, 0, 0]);
        handler.0.extend(b"video\0");
        let here = boxed(*b"url ", &[&Words::version(1).0]);
        let mut references = Words::version(0);
        references.words(&[1]);
        references.0.extend(here);
        let mut video = Words::version(1);
        video.words(&[0, 0]);
        let information = boxed(
            *b"minf",
            &[
                &boxed(*b"vmhd", &[&video.0]),
                &boxed(*b"dinf", &[&boxed(*b"dref", &[&references.0])]),
                &self.table(pictures_at),
            ],
        );
        let media = boxed(
            *b"mdia",
            &[
                &boxed(*b"mdhd", &[&media.0]),
                &boxed(*b"hdlr", &[&handler.0]),
                &information,
            ],
        );
        boxed(*b"trak", &[&boxed(*b"tkhd", &[&header.0]), &media])
    }

    /// Where each sample is, how large, and for how long it is shown.
    fn table(&self, pictures_at: u32) -> Vec<u8> {
        let count = number(self.samples.len());
        let mut descriptions = Words::version(0);
        descriptions.words(&[1]);
        descriptions.0.extend(self.description());
        let mut times = Words::version(0);
        times.words(&[1, count, self.each_units()]);
        let whole = self
            .samples
            .iter()
            .zip(1..)
            .filter(|(sample, _)| sample.whole);
        let whole: Vec<u32> = whole.map(|(_, at)| at).collect();
        let mut starts = Words::version(0);
        starts.words(&[number(whole.len())]);
        starts.words(&whole);
        let mut chunks = Words::version(0);
        chunks.words(&[1, 1, count, 1]);
        let mut sizes = Words::version(0);
        sizes.words(&[0, count]);
        self.samples
            .iter()
            .for_each(|sample| sizes.words(&[number(sample.unit.len() + 4)]));
        let mut offsets = Words::version(0);
        offsets.words(&[1, pictures_at]);
        boxed(
            *b"stbl",
            &[
                &boxed(*b"stsd", &[&descriptions.0]),
                &boxed(*b"stts", &[&times.0]),
                &boxed(*b"stss", &[&starts.0]),
                &boxed(*b"stsc", &[&chunks.0]),
                &boxed(*b"stsz", &[&sizes.0]),
                &boxed(*b"stco", &[&offsets.0]),
            ],
        )
    }

    /// The entry that says how samples are coded, with both parameter sets.
    fn description(&self) -> Vec<u8> {
        let mut entry = vec![0; 6];
        entry.extend([0, 1]); // the data reference
        entry.extend([0; 16]);
        for side in [self.frame.width(), self.frame.height()] {
            entry.extend(u16::try_from(side).unwrap_or_default().to_be_bytes());
        }
        for dpi in [72_u32 << 16; 2] {
            entry.extend(dpi.to_be_bytes());
        }
        entry.extend([0; 4]);
        entry.extend([0, 1]); // one frame in a sample
        entry.extend([0; 32]); // the compressor's name
        entry.extend([0, 24, 0xff, 0xff]); // depth, and no colour table
        let [profile, compatible, level] = PROFILE;
        // Lengths of four octets; one sequence parameter set.
        let mut configuration = vec![1, profile, compatible, level, 0xff, 0xe1];
        for (at, set) in [self.sequence, self.pictures].into_iter().enumerate() {
            if at == 1 {
                configuration.push(1);
            }
            configuration.extend(u16::try_from(set.len()).unwrap_or_default().to_be_bytes());
            configuration.extend(set);
        }
        boxed(*b"avc1", &[&entry, &boxed(*b"avcC", &[&configuration])])
    }
}

/// The inside of a box that begins with its version and flags, and goes on in words of four octets.
struct Words(Vec<u8>);

impl Words {
    fn version(version_and_flags: u32) -> Self {
        Self(version_and_flags.to_be_bytes().to_vec())
    }

    fn words(&mut self, words: &[u32]) {
        self.0
            .extend(words.iter().flat_map(|word| word.to_be_bytes()));
    }
}

fn boxed(name: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = number(length + 8).to_be_bytes().to_vec();
    bytes.extend(name);
    parts.iter().for_each(|part| bytes.extend(*part));
    bytes
}

/// A film is far smaller than what 32 bits count.
fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
