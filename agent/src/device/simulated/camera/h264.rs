//! H.264 in the plainest way that every player knows (ITU-T H.264, constrained baseline profile).
//!
//! Macroblocks are written as they are (I_PCM) or left as they were (skipped): there is nothing to predict, transform
//! or code by entropy, and what is shown is exactly what was drawn.

/// Pixels of a macroblock's side.
pub(super) const SIDE: usize = 16;

/// A picture in YUV 4:2:0, in whole macroblocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    columns: usize,
    rows: usize,
    luma: Vec<u8>,
    /// Blue, then red.
    chroma: [Vec<u8>; 2],
}

/// Darkest and brightest sample.
const BLACK: u8 = 16;

impl Frame {
    /// A grey one of so many macroblocks.
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        let blocks = columns * rows;
        Self {
            columns,
            rows,
            luma: vec![BLACK; blocks * SIDE * SIDE],
            chroma: [vec![128; blocks * 64], vec![128; blocks * 64]],
        }
    }

    pub(super) fn width(&self) -> usize {
        self.columns * SIDE
    }

    pub(super) fn height(&self) -> usize {
        self.rows * SIDE
    }

    /// Gives each pixel its brightness and, for every fourth, its two colours.
    pub(super) fn draw(&mut self, pixel: impl Fn(u32, u32) -> [u8; 3]) {
        let (width, height) = (self.width(), self.height());
        for y in 0..height {
            for x in 0..width {
                let drawn = pixel(narrow(x), narrow(y));
                let [luma, colours @ ..] = drawn;
                if let Some(sample) = self.luma.get_mut(y * width + x) {
                    *sample = luma;
                }
                if x % 2 == 0 && y % 2 == 0 {
                    let at = y / 2 * (width / 2) + x / 2;
                    for (plane, colour) in self.chroma.iter_mut().zip(colours) {
                        if let Some(sample) = plane.get_mut(at) {
                            *sample = colour;
                        }
                    }
                }
            }
        }
    }

    /// The 384 samples of one macroblock, as I_PCM has them.
    fn macroblock(&self, block: usize) -> impl Iterator<Item = u8> {
        let (column, row) = (block % self.columns, block / self.columns);
        let square = move |plane: &'_ [u8], side: usize, width: usize| {
            let lines = (0..side).map(move |y| (row * side + y) * width + column * side);
            lines
                .flat_map(|from| plane.get(from..from + side).unwrap_or_default().to_vec())
                .collect::<Vec<u8>>()
        };
        let mut samples = square(&self.luma, SIDE, self.width());
        for plane in &self.chroma {
            samples.extend(square(plane, SIDE / 2, self.width() / 2));
        }
        samples.into_iter()
    }
}

fn narrow(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// NAL units: their first octet, with `nal_ref_idc` and `nal_unit_type`.
const SPS: u8 = 0x67;
const PPS: u8 = 0x68;
const IDR: u8 = 0x65;
const SLICE: u8 = 0x41;

/// `profile_idc`, the constraint flags, `level_idc` 3.
pub(super) const PROFILE: [u8; 3] = [66, 0xc0, 30];

/// `mb_type` of I_PCM in a slice of I, and in one of P, where those of P come before.
const PCM_IN_I: u32 = 25;
const PCM_IN_P: u32 = 30;

/// The sequence parameter set of frames of this size (7.3.2.1.1).
pub(super) fn sequence(frame: &Frame) -> Vec<u8> {
    let mut bits = Bits::default();
    for octet in PROFILE {
        bits.put(octet.into(), 8);
    }
    bits.ue(0); // seq_parameter_set_id
    bits.ue(0); // log2_max_frame_num_minus4
    bits.ue(2); // pic_order_cnt_type: frames are shown in the order in which they come
    bits.ue(1); // max_num_ref_frames
    bits.put(0, 1); // gaps_in_frame_num_value_allowed_flag
    bits.ue(narrow(frame.columns) - 1);
    bits.ue(narrow(frame.rows) - 1);
    bits.put(1, 1); // frame_mbs_only_flag
    bits.put(1, 1); // direct_8x8_inference_flag
    bits.put(0, 1); // frame_cropping_flag
    bits.put(0, 1); // vui_parameters_present_flag
    bits.unit(SPS)
}

/// The picture parameter set (7.3.2.2).
pub(super) fn pictures() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.ue(0); // pic_parameter_set_id
    bits.ue(0); // seq_parameter_set_id
    bits.put(0, 1); // entropy_coding_mode_flag: CAVLC
    bits.put(0, 1); // bottom_field_pic_order_in_frame_present_flag
    bits.ue(0); // num_slice_groups_minus1
    bits.ue(0); // num_ref_idx_l0_default_active_minus1
    bits.ue(0); // num_ref_idx_l1_default_active_minus1
    bits.put(0, 1); // weighted_pred_flag
    bits.put(0, 2); // weighted_bipred_idc
    bits.ue(0); // pic_init_qp_minus26
    bits.ue(0); // pic_init_qs_minus26
    bits.ue(0); // chroma_qp_index_offset
    bits.put(1, 1); // deblocking_filter_control_present_flag
    bits.put(0, 1); // constrained_intra_pred_flag
    bits.put(0, 1); // redundant_pic_cnt_present_flag
    bits.unit(PPS)
}

/// A frame by itself; `film` tells one such frame from the next.
pub(super) fn whole(frame: &Frame, film: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.ue(0); // first_mb_in_slice
    bits.ue(7); // slice_type: I, as all of the picture
    bits.ue(0); // pic_parameter_set_id
    bits.put(0, 4); // frame_num
    bits.ue(film % 2); // idr_pic_id
    bits.put(0, 2); // no_output_of_prior_pics_flag, long_term_reference_flag
    bits.ue(0); // slice_qp_delta
    bits.ue(1); // disable_deblocking_filter_idc: samples stay as they are
    for block in 0..frame.columns * frame.rows {
        bits.ue(PCM_IN_I);
        bits.align();
        frame
            .macroblock(block)
            .for_each(|sample| bits.put(sample.into(), 8));
    }
    bits.unit(IDR)
}

/// What changed since the frame before; `number` counts frames from the last whole one.
pub(super) fn changes(before: &Frame, frame: &Frame, number: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.ue(0); // first_mb_in_slice
    bits.ue(5); // slice_type: P, as all of the picture
    bits.ue(0); // pic_parameter_set_id
    bits.put(number % 16, 4); // frame_num
    bits.put(0, 1); // num_ref_idx_active_override_flag
    bits.put(0, 1); // ref_pic_list_modification_flag_l0
    bits.put(0, 1); // adaptive_ref_pic_marking_mode_flag
    bits.ue(0); // slice_qp_delta
    bits.ue(1); // disable_deblocking_filter_idc
    let mut skipped = 0;
    for block in 0..frame.columns * frame.rows {
        if before.macroblock(block).eq(frame.macroblock(block)) {
            skipped += 1;
            continue;
        }
        bits.ue(skipped); // mb_skip_run
        skipped = 0;
        bits.ue(PCM_IN_P);
        bits.align();
        frame
            .macroblock(block)
            .for_each(|sample| bits.put(sample.into(), 8));
    }
    if skipped > 0 {
        bits.ue(skipped);
    }
    bits.unit(SLICE)
}

/// Bits from the highest to the lowest (7.2).
#[derive(Debug, Default)]
struct Bits {
    octets: Vec<u8>,
    /// Bits of the last octet that are taken; 0: all.
    taken: u32,
}

impl Bits {
    /// The lowest `count` bits of a value.
    fn put(&mut self, value: u32, count: u32) {
        if self.taken == 0 && count == 8 {
            self.octets
                .push(u8::try_from(value & 0xff).unwrap_or_default());
            return;
        }
        for at in (0..count).rev() {
            if self.taken == 0 {
                self.octets.push(0);
            }
            if value >> at & 1 == 1
                && let Some(last) = self.octets.last_mut()
            {
                *last |= 0x80 >> self.taken;
            }
            self.taken = (self.taken + 1) % 8;
        }
    }

    /// An unsigned Exp-Golomb code (9.1); of a signed one the same for 0.
    fn ue(&mut self, value: u32) {
        let code = value + 1;
        let length = 32 - code.leading_zeros();
        self.put(0, length - 1);
        self.put(code, length);
    }

    /// Zeros up to the next octet.
    fn align(&mut self) {
        self.taken = 0;
    }

    /// The NAL unit of all that was put: its end marked, and no start code within it (7.4.1.1).
    fn unit(mut self, first: u8) -> Vec<u8> {
        self.put(1, 1);
        let mut unit = vec![first];
        let mut zeros = 0;
        for octet in self.octets {
            if zeros == 2 && octet <= 3 {
                unit.push(3);
                zeros = 0;
            }
            zeros = if octet == 0 { zeros + 1 } else { 0 };
            unit.push(octet);
        }
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r46_codes_are_those_of_the_specification() {
        // 9.1, table 9-2: 1, 010, 011, 00100.
        let mut bits = Bits::default();
        (0..4).for_each(|value| bits.ue(value));
        assert_eq!(bits.octets, [0b1010_0110, 0b0100_0000]);
        let mut bits = Bits::default();
        [0, 0, 1, 0, 0, 0]
            .into_iter()
            .for_each(|octet| bits.put(octet, 8));
        assert_eq!(bits.unit(SPS), [SPS, 0, 0, 3, 1, 0, 0, 3, 0, 0x80]);
    }

    #[test]
    fn r46_a_frame_in_which_nothing_changed_takes_next_to_nothing() {
        let before = Frame::new(11, 9);
        assert!(whole(&before, 0).len() > 99 * 384);
        assert!(changes(&before, &before, 1).len() < 8);
        let mut frame = before.clone();
        frame.draw(|x, y| {
            if (x, y) == (20, 20) {
                [99, 128, 128]
            } else {
                [BLACK, 128, 128]
            }
        });
        let size = changes(&before, &frame, 1).len();
        assert!((384..400).contains(&size), "{size}");
    }
}
