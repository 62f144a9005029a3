//! The few words of AML that our DSDT consists of (ACPI Specification 6.5, chapters 20 and 6.4).

const ZERO: u8 = 0x00;
const ONE: u8 = 0x01;
const NAME: u8 = 0x08;
const BYTE: u8 = 0x0a;
const WORD: u8 = 0x0b;
const DWORD: u8 = 0x0c;
const STRING: u8 = 0x0d;
const SCOPE: u8 = 0x10;
const BUFFER: u8 = 0x11;
const PACKAGE: u8 = 0x12;
const DEVICE: [u8; 2] = [0x5b, 0x82];

/// A name of one segment, from the root where it begins with a backslash. Shorter ones are padded.
fn path(name: &str) -> Vec<u8> {
    let root = if name.starts_with('\\') { "\\" } else { "" };
    format!("{root}{:_<4}", name.trim_start_matches('\\')).into_bytes()
}

/// `contents` with their length before them, which counts itself: six bits, or four and up to three bytes more.
fn with_length(contents: &[u8]) -> Vec<u8> {
    let mut length = match contents.len() {
        size @ 0..=0x3e => vec![size as u8 + 1],
        size @ 0x3f..=0xffd => vec![1 << 6 | (size + 2) as u8 & 0xf, ((size + 2) >> 4) as u8],
        size => vec![2 << 6 | (size + 3) as u8 & 0xf, ((size + 3) >> 4) as u8, ((size + 3) >> 12) as u8],
    };
    length.extend(contents);
    length
}

/// `Name(name, value)`.
pub fn name(name: &str, value: &[u8]) -> Vec<u8> {
    [&[NAME], &path(name)[..], value].concat()
}

/// `Scope(name) { contents }`.
pub fn scope(name: &str, contents: &[Vec<u8>]) -> Vec<u8> {
    [vec![SCOPE], with_length(&[path(name), contents.concat()].concat())].concat()
}

/// `Device(name) { contents }`.
pub fn device(name: &str, contents: &[Vec<u8>]) -> Vec<u8> {
    [DEVICE.to_vec(), with_length(&[path(name), contents.concat()].concat())].concat()
}

/// `Package() { items }` of at most 255 items.
pub fn package(items: &[Vec<u8>]) -> Vec<u8> {
    [vec![PACKAGE], with_length(&[vec![items.len() as u8], items.concat()].concat())].concat()
}

/// An integer, as short as it goes.
pub fn integer(value: u32) -> Vec<u8> {
    let [low, high, ..] = value.to_le_bytes();
    match value {
        0 => vec![ZERO],
        1 => vec![ONE],
        2..=0xff => vec![BYTE, low],
        0x100..=0xffff => vec![WORD, low, high],
        _ => [&[DWORD], &value.to_le_bytes()[..]].concat(),
    }
}

/// A string of ASCII.
pub fn string(text: &str) -> Vec<u8> {
    [&[STRING], text.as_bytes(), &[0]].concat()
}

/// `EisaId(id)`: three letters of five bits each, four hexadecimal digits, highest byte first.
pub fn eisa_id(id: &str) -> Vec<u8> {
    let (letters, digits) = id.split_at(3);
    let letters = letters.bytes().fold(0, |all, letter| all << 5 | u32::from(letter - b'@'));
    let digits = digits.chars().filter_map(|digit| digit.to_digit(16)).fold(0, |all, digit| all << 4 | digit);
    [&[DWORD], &(letters << 16 | digits).to_be_bytes()[..]].concat()
}

/// `ResourceTemplate() { resources }`.
pub fn resources(resources: &[Vec<u8>]) -> Vec<u8> {
    // The end tag; a sum of 0 means that there is none.
    let template = [&resources.concat(), &[0x79, 0][..]].concat();
    [vec![BUFFER], with_length(&[integer(template.len() as u32), template].concat())].concat()
}

/// `IO(Decode16, port, port, 1, count)`.
pub fn io(port: u16, count: u8) -> Vec<u8> {
    [&[0x47, 1], &port.to_le_bytes()[..], &port.to_le_bytes(), &[1, count]].concat()
}

/// `IRQNoFlags() { line }`: edge, high, exclusive, as ISA lines are.
pub fn irq(line: u32) -> Vec<u8> {
    [&[0x22], &(1_u16 << line).to_le_bytes()[..]].concat()
}

/// `Memory32Fixed(ReadWrite, address, size)`.
pub fn memory(address: u32, size: u32) -> Vec<u8> {
    [&[0x86, 9, 0, 1], &address.to_le_bytes()[..], &size.to_le_bytes()].concat()
}

/// `Interrupt(ResourceConsumer, Edge, ActiveHigh, Exclusive) { gsi }`.
pub fn interrupt(gsi: u32) -> Vec<u8> {
    [&[0x89, 6, 0, 0b11, 1], &gsi.to_le_bytes()[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        assert_eq!(with_length(&[0; 0x3e])[..1], [0x3f]);
        assert_eq!(with_length(&[0; 0x3f])[..2], [0x41, 0x04]);
        assert_eq!(with_length(&[0; 0xffd])[..2], [0x4f, 0xff]);
        assert_eq!(with_length(&[0; 0xffe])[..3], [0x81, 0x00, 0x01]);
    }

    #[test]
    fn values_are_spelled_as_the_specification_has_them() {
        assert_eq!(name("\\_S5", &package(&[integer(5), integer(0)])), b"\x08\\_S5_\x12\x05\x02\x0a\x05\x00");
        assert_eq!(eisa_id("PNP0501"), [DWORD, 0x41, 0xd0, 0x05, 0x01]);
        assert_eq!(integer(0xd000_0000), [DWORD, 0, 0, 0, 0xd0]);
        assert_eq!(irq(12), [0x22, 0x00, 0x10]);
    }
}
