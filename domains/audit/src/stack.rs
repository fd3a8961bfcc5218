//! How deep the hypervisor's stack gets, read from its instructions.
//!
//! A function's frame is what `stdu r1,-N(r1)` takes; `bl`, and branches out of a function, lead
//! to others. Where a path goes on through a pointer (`bctrl`) the listing does not say whither: the
//! functions that do so are named, and what a pointer may lead to is taken to be the deepest of
//! those that nothing calls by name (one that is called both ways escapes this). Recursion and
//! frames of variable size have no bound, and are named.

use crate::image::Function;
use crate::table::{Table, number, short};
use std::collections::{BTreeMap, BTreeSet};

/// Where the hypervisor is entered while guests run, each time at the top of a stack.
const ENTRIES: [&str; 4] = ["powernv_exit", "powernv_switch", "powernv_fatal", "powernv_secondary"];

/// Where it boots: on a stack of the same size, before there is a guest. Reading the firmware's
/// device tree recurses with the tree's depth, so there the listing alone has no bound.
const BOOT: &str = "powernv_boot";

/// Where guests come in once one has run, on bare metal and nested.
const FROM_GUESTS: [&str; 5] =
    ["powernv_exit", "powernv_switch", "powernv_fatal", "nested_fatal", "hv_nested::context::run"];

/// A processor's stack.
pub const STACK: u64 = 32 << 10;

/// What a function does with the stack.
#[derive(Clone, Debug, Default)]
struct Node {
    name: String,
    /// Bytes of all its frames: paths through it that make one each are not told apart.
    frame: u64,
    /// Whether it also takes as much as it computes.
    variable: bool,
    /// Whether it calls through a pointer.
    indirect: bool,
    calls: BTreeSet<usize>,
}

/// Who calls whom.
pub struct Calls {
    nodes: Vec<Node>,
}

/// How much stack a function takes, with all that it calls by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Bytes on the deepest path, where nothing below says that there is no bound.
    pub bytes: u64,
    /// The deepest path, callers first.
    pub path: Vec<String>,
    /// How many functions may run.
    pub functions: usize,
    /// Functions among them that call through a pointer.
    pub indirect: BTreeSet<String>,
    /// Functions that may come to call themselves.
    pub recursive: BTreeSet<String>,
    /// Functions with frames of variable size.
    pub variable: BTreeSet<String>,
}

impl Depth {
    /// Whether `bytes` is a bound, but for calls through pointers.
    pub fn is_bounded(&self) -> bool {
        self.recursive.is_empty() && self.variable.is_empty()
    }
}

impl Calls {
    /// Reads who calls whom.
    pub fn new(functions: &[Function]) -> Calls {
        let starts: BTreeMap<u64, usize> =
            functions.iter().enumerate().map(|(at, f)| (f.address, at)).collect();
        // A function has a second entry some words in, for callers with the same table of contents.
        let at = |address: u64| starts.range(..=address).next_back().map(|(_, &node)| node);
        let node = |function: &Function| {
            let mut node = Node { name: function.name.clone(), ..Node::default() };
            for instruction in &function.instructions {
                let (operation, operands) = instruction
                    .text
                    .split_once(char::is_whitespace)
                    .unwrap_or((&instruction.text, ""));
                let operands = operands.trim();
                node.frame += frame(operation, operands);
                node.variable |= is_variable(operation, operands);
                node.indirect |= matches!(operation, "bctrl" | "blrl" | "bctr");
                let target = target(operation, operands).and_then(at);
                // A branch within the function is none; a call of itself is.
                let leaves = target
                    .filter(|&to| operation == "bl" || functions[to].address != function.address);
                node.calls.extend(leaves);
            }
            node
        };
        Calls { nodes: functions.iter().map(node).collect() }
    }

    /// The function called `name`, in whatever module.
    fn find(&self, name: &str) -> Option<usize> {
        let is = |node: &Node| {
            node.name
                .strip_suffix(name)
                .is_some_and(|module| module.is_empty() || module.ends_with("::"))
        };
        self.nodes.iter().position(is)
    }

    /// All functions' names.
    pub fn names(&self) -> BTreeSet<&str> {
        self.nodes.iter().map(|node| node.name.as_str()).collect()
    }

    /// What a guest's ways in lead to by name. What is behind a pointer is not told: it is the
    /// formatting of what some function reached by name has at hand.
    pub fn after_boot(&self) -> BTreeSet<&str> {
        let ways_in = FROM_GUESTS.iter().filter_map(|entry| self.find(entry));
        let reached: BTreeSet<usize> = ways_in.flat_map(|entry| self.reach(entry)).collect();
        reached.into_iter().map(|at| self.nodes[at].name.as_str()).collect()
    }

    fn reach(&self, from: usize) -> BTreeSet<usize> {
        let mut search =
            Search { nodes: &self.nodes, known: BTreeMap::new(), recursive: BTreeSet::new() };
        search.visit(from);
        search.known.into_keys().collect()
    }

    /// How deep the function called `name` gets.
    pub fn depth(&self, name: &str) -> Option<Depth> {
        Some(self.depth_of(self.find(name)?))
    }

    fn depth_of(&self, node: usize) -> Depth {
        let mut search =
            Search { nodes: &self.nodes, known: BTreeMap::new(), recursive: BTreeSet::new() };
        let bytes = search.visit(node);
        let name = |&at: &usize| self.nodes[at].name.clone();
        let mut path = Vec::new();
        let mut next = Some(node);
        while let Some(at) = next {
            path.push(name(&at));
            next = search.known[&at].and_then(|(_, below)| below);
        }
        let having = |property: fn(&Node) -> bool| {
            search.known.keys().filter(|&&at| property(&self.nodes[at])).map(name).collect()
        };
        Depth {
            bytes,
            path,
            functions: search.known.len(),
            indirect: having(|node| node.indirect),
            recursive: search.recursive.iter().map(name).collect(),
            variable: having(|node| node.variable),
        }
    }

    /// How deep the deepest function gets that none calls by name and that is no way in: it can
    /// be called through a pointer only.
    pub fn behind_pointers(&self) -> Depth {
        let roots: BTreeSet<usize> =
            ENTRIES.iter().chain([&BOOT]).filter_map(|root| self.find(root)).collect();
        let mut named: BTreeSet<usize> = roots.clone();
        for (at, node) in self.nodes.iter().enumerate() {
            named.extend(&node.calls);
            // The first instructions, which go on to a root.
            if !node.calls.is_disjoint(&roots) {
                named.insert(at);
            }
        }
        let outside = (0..self.nodes.len()).filter(|at| !named.contains(at));
        outside.map(|at| self.depth_of(at)).max_by_key(|depth| depth.bytes).unwrap_or_default()
    }
}

/// A walk down from one function.
struct Search<'a> {
    nodes: &'a [Node],
    /// Bytes and the next on the deepest path; `None` while the function is being visited.
    known: BTreeMap<usize, Option<(u64, Option<usize>)>>,
    recursive: BTreeSet<usize>,
}

impl Search<'_> {
    fn visit(&mut self, node: usize) -> u64 {
        match self.known.get(&node) {
            Some(Some((bytes, _))) => return *bytes,
            Some(None) => {
                self.recursive.insert(node);
                return 0;
            }
            None => {}
        }
        self.known.insert(node, None);
        let mut deepest = (0, None);
        for &call in &self.nodes[node].calls {
            let bytes = self.visit(call);
            if bytes > deepest.0 {
                deepest = (bytes, Some(call));
            }
        }
        let bytes = self.nodes[node].frame + deepest.0;
        self.known.insert(node, Some((bytes, deepest.1)));
        bytes
    }
}

/// The bytes of `stdu r1,-N(r1)`.
fn frame(operation: &str, operands: &str) -> u64 {
    let bytes = operands.split_once(",-").and_then(|(_, rest)| rest.strip_suffix("(r1)"));
    bytes.filter(|_| operation == "stdu").and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Whether it lowers r1 by what a register has.
fn is_variable(operation: &str, operands: &str) -> bool {
    let computes = ["stdux", "subf", "add", "and", "clrrdi", "rldicr"];
    computes.contains(&operation) && operands.starts_with("r1,")
}

/// Where a branch or call goes.
fn target(operation: &str, operands: &str) -> Option<u64> {
    let address = operands.rsplit([',', ' ']).next()?;
    let branch =
        operation.starts_with('b') && !operation.contains("lr") && !operation.contains("ctr");
    branch.then(|| u64::from_str_radix(address, 16).ok())?
}

/// The table of the ways in, and the value for the budget: the deepest way in while guests run and,
/// below it, the deepest function behind pointers. Without a bound it is more than any budget.
pub fn measure(functions: &[Function]) -> (Table, u64) {
    let calls = Calls::new(functions);
    let columns = ["entry", "bytes", "functions", "bounded", "what there is to know"];
    let mut table = Table::new("stack", "Stack of each entry path", &columns);
    table.note = format!(
        "Of {} bytes. Where a path calls through a pointer, what the last row has may come on top; \
         the budget counts it once. Without a bound, bytes are those of one turn of each recursion.",
        number(STACK)
    );
    let mut row = |name: &str, depth: &Depth| {
        let bounded = match (depth.is_bounded(), depth.indirect.is_empty()) {
            (false, _) => "no",
            (true, true) => "yes",
            (true, false) => "but for pointers",
        };
        let cells = [name, &number(depth.bytes), &number(depth.functions as u64), bounded];
        table.row(cells.map(str::to_owned).into_iter().chain([remarks(depth)]));
        if depth.is_bounded() { depth.bytes } else { u64::MAX }
    };
    let mut deepest = 0;
    for entry in ENTRIES {
        // An entry that is not there has another name now: that is no bound.
        let bytes = calls.depth(entry).map_or(u64::MAX, |depth| row(entry, &depth));
        deepest = deepest.max(bytes);
    }
    if let Some(depth) = calls.depth(BOOT) {
        row(BOOT, &depth);
    }
    let behind = row("behind pointers", &calls.behind_pointers());
    (table, deepest.saturating_add(behind))
}

fn remarks(depth: &Depth) -> String {
    let list = |names: &mut dyn Iterator<Item = &String>, between| {
        names.map(|name| short(name)).collect::<Vec<_>>().join(between)
    };
    let mut text = format!("deepest: {}", list(&mut depth.path.iter(), " > "));
    let lists = [
        ("calls through pointers in", &depth.indirect),
        ("recursion of", &depth.recursive),
        ("frames of variable size in", &depth.variable),
    ];
    for (what, names) in lists {
        if !names.is_empty() {
            text += &format!("; {what}: {}", list(&mut names.iter(), ", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::read_listing;
    use proptest::prelude::*;

    /// A listing of functions at 0x1000, 0x1100, …
    fn listing(functions: &[(&str, &[&str])]) -> Calls {
        let mut text = String::new();
        for (at, (name, instructions)) in functions.iter().enumerate() {
            let address = 0x1000 + at * 0x100;
            text += &format!("{address:016x} <{name}>:\n");
            for (index, instruction) in instructions.iter().enumerate() {
                text += &format!("    {:x}:\t{instruction}\n", address + 4 * index);
            }
        }
        Calls::new(&read_listing(&text))
    }

    #[test]
    fn the_deepest_path_counts() {
        let calls = listing(&[
            ("a::powernv_exit", &["stdu    r1,-64(r1)", "bl      1108 <b+0x8>", "bl 1200 <c>"]),
            ("b", &["nop", "nop", "stdu    r1,-32(r1)", "bne     1100 <b>", "blr"]),
            ("c", &["beq     cr7,1300 <d>", "blr"]),
            ("d", &["stdu    r1,-128(r1)", "stdu    r5,16(r8)", "blr"]),
            ("unused", &["stdu    r1,-256(r1)", "blr"]),
        ]);
        let depth = calls.depth("powernv_exit").unwrap();
        assert_eq!((depth.bytes, depth.functions), (192, 4));
        assert_eq!(depth.path, ["a::powernv_exit", "c", "d"]);
        assert!(depth.is_bounded() && depth.indirect.is_empty());
        assert_eq!(calls.behind_pointers().bytes, 256);
        assert_eq!(calls.depth("exit"), None);
    }

    #[test]
    fn what_has_no_bound_is_named() {
        let calls = listing(&[
            ("a", &["stdu    r1,-64(r1)", "bl      1100 <b>", "bl      1200 <c>"]),
            ("b", &["stdu    r1,-32(r1)", "bl      1100 <b>"]),
            ("c", &["mtctr   r12", "bctrl", "bl      1300 <d>"]),
            ("d", &["stdux   r1,r1,r0", "bl      1200 <c>"]),
        ]);
        let depth = calls.depth("a").unwrap();
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(depth.recursive, names(&["b", "c"]));
        assert_eq!(depth.indirect, names(&["c"]));
        assert_eq!(depth.variable, names(&["d"]));
        assert!(!depth.is_bounded());
    }

    #[test]
    fn a_way_in_without_a_bound_passes_every_budget() {
        let text = "0000000000001000 <powernv_exit>:\n    1000:\tbl      1000 <powernv_exit>\n";
        let (table, bytes) = measure(&read_listing(text));
        assert_eq!(bytes, u64::MAX);
        assert_eq!(table.rows[0][3], "no");
    }

    proptest! {
        /// A chain of calls is as deep as its frames together.
        #[test]
        fn chains_add_up(frames in proptest::collection::vec(1_u64..500, 1..20)) {
            let bodies: Vec<[String; 2]> = frames
                .iter()
                .enumerate()
                .map(|(at, frame)| [
                    format!("stdu    r1,-{frame}(r1)"),
                    format!("bl      {:x} <next>", 0x1000 + (at + 1) * 0x100),
                ])
                .collect();
            let mut functions: Vec<(String, Vec<&str>)> = bodies
                .iter()
                .enumerate()
                .map(|(at, body)| (format!("f{at}"), body.iter().map(String::as_str).collect()))
                .collect();
            functions.push(("end".into(), vec!["blr"]));
            let functions: Vec<(&str, &[&str])> =
                functions.iter().map(|(name, body)| (name.as_str(), &body[..])).collect();
            let depth = listing(&functions).depth("f0").unwrap();
            prop_assert_eq!(depth.bytes, frames.iter().sum::<u64>());
            prop_assert!(depth.is_bounded());
        }
    }
}
