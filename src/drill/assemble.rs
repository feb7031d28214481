//! Small commands, assembled by hand: modules that say one thing, and one that keeps a compiler busy.

/// The bytes every module begins with.
const HEAD: &[u8] = b"\0asm\x01\0\0\0";

/// Where the command that says something keeps what it says; before it what `fd_write` is told, and its answer.
const TEXT_AT: u32 = 16;

const I32: u8 = 0x7f;
const I64: u8 = 0x7e;

/// A command that writes `text` to its standard output.
pub fn saying(text: &str) -> Vec<u8> {
    let types = vec![function_type(&[I32; 4], &[I32]), function_type(&[], &[])];
    let import = [name("wasi_snapshot_preview1"), name("fd_write"), vec![0x00, 0x00]].concat();
    // fd_write(1, the list at 0, its length 1, the count to 8)
    let write = [0x41, 1, 0x41, 0, 0x41, 1, 0x41, 8, 0x10, 0, 0x1a];
    let list = [TEXT_AT.to_le_bytes(), (text.len() as u32).to_le_bytes()].concat();
    let data = [list, vec![0; 8], text.as_bytes().to_vec()].concat();
    let segment = [vec![0x00, 0x41, 0x00, 0x0b], number(data.len() as u64), data].concat();
    let exports = vec![export("memory", 0x02, 0), export("_start", 0x00, 1)];
    [
        HEAD.to_vec(),
        section(1, types),
        section(2, vec![import]),
        section(3, vec![vec![1]]),
        section(5, vec![vec![0x00, 1]]),
        section(7, exports),
        section(10, vec![body(&write)]),
        section(11, vec![segment]),
    ]
    .concat()
}

/// A command that does nothing, beside so many functions of `length` arithmetic steps each.
pub fn bomb(functions: usize, length: usize) -> Vec<u8> {
    let types = vec![function_type(&[], &[]), function_type(&[I64], &[I64])];
    // local.get 0, i64.const 7, i64.xor, i64.mul: none of it can be worked out beforehand.
    let step = [0x20, 0, 0x42, 7, 0x85, 0x7e];
    let long = body(&[&[0x20, 0][..], &step.repeat(length)].concat());
    let kinds = std::iter::once(vec![0]).chain(std::iter::repeat_n(vec![1], functions)).collect();
    let bodies = std::iter::once(body(&[])).chain(std::iter::repeat_n(long, functions)).collect();
    let exports = vec![export("memory", 0x02, 0), export("_start", 0x00, 0)];
    let memory = section(5, vec![vec![0x00, 1]]);
    [HEAD.to_vec(), section(1, types), section(3, kinds), memory, section(7, exports), section(10, bodies)].concat()
}

/// A section of so many entries.
fn section(id: u8, entries: Vec<Vec<u8>>) -> Vec<u8> {
    let content = [number(entries.len() as u64), entries.concat()].concat();
    [vec![id], number(content.len() as u64), content].concat()
}

fn function_type(parameters: &[u8], results: &[u8]) -> Vec<u8> {
    let list = |types: &[u8]| [number(types.len() as u64), types.to_vec()].concat();
    [vec![0x60], list(parameters), list(results)].concat()
}

fn export(called: &str, kind: u8, index: u8) -> Vec<u8> {
    [name(called), vec![kind, index]].concat()
}

/// A function without further locals.
fn body(code: &[u8]) -> Vec<u8> {
    let content = [&[0x00], code, &[0x0b]].concat();
    [number(content.len() as u64), content].concat()
}

fn name(text: &str) -> Vec<u8> {
    [number(text.len() as u64), text.as_bytes().to_vec()].concat()
}

/// LEB128.
fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_something_is_what_its_text_says() {
        let text = r#"(module
            (type (func (param i32 i32 i32 i32) (result i32)))
            (type (func))
            (import "wasi_snapshot_preview1" "fd_write" (func (type 0)))
            (memory (export "memory") 1)
            (func (export "_start") (type 1)
                (drop (call 0 (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
            (data (i32.const 0) "\10\00\00\00\05\00\00\00\00\00\00\00\00\00\00\00hello"))"#;
        assert_eq!(saying("hello"), wat::parse_str(text).unwrap());
    }

    #[test]
    fn the_bomb_is_a_module_of_its_size() {
        let bomb = bomb(300, 2);
        wasmparser::validate(&bomb).unwrap();
        let functions = wasmparser::Parser::new(0).parse_all(&bomb).find_map(|payload| match payload.unwrap() {
            wasmparser::Payload::CodeSectionStart { count, .. } => Some(count),
            _ => None,
        });
        assert_eq!(functions, Some(301));
    }
}
