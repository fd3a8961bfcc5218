//! Made-up ELF files for tests.

/// A segment: virtual and physical address, size in memory, data, flags.
pub struct Part<'a>(pub u64, pub u64, pub u64, pub &'a [u8], pub u32);

/// A 64-bit little-endian Power executable with these segments.
pub fn file(entry: u64, parts: &[Part<'_>]) -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut offset = 64 + 56 * parts.len() as u64;
    for (value, size) in [
        (2u64, 2), // executable
        (21, 2),   // Power, 64 bits
        (1, 4),
        (entry, 8),
        (64, 8), // program headers
        (0, 8),  // section headers
        (2, 4),
        (64, 2),
        (56, 2),
        (parts.len() as u64, 2),
        (64, 2),
        (0, 2),
        (0, 2),
    ] {
        file.extend(&value.to_le_bytes()[..size]);
    }
    for Part(virtual_address, physical_address, memory_size, data, flags) in parts {
        file.extend(1u32.to_le_bytes());
        file.extend(flags.to_le_bytes());
        for value in
            [offset, *virtual_address, *physical_address, data.len() as u64, *memory_size, 1]
        {
            file.extend(value.to_le_bytes());
        }
        offset += data.len() as u64;
    }
    parts.iter().for_each(|part| file.extend(part.3));
    file
}
