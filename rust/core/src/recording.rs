//! The recorder's text form of operations and their results, one JSON object a line. There is no kernel counterpart.
//!
//! A recording is a header, `{"before": snapshot}`, operations, `{"after": snapshot}` and `{"proc": ...}`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::gfp::Gfp;
use crate::replay::{Api, Op, OpKind, OpResult};
use crate::snapshot::Snapshot;
use crate::vmstat::RECORDED_EVENTS;

/// The fields that an operation may have, as they stand in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawOp {
    pub op: String,
    pub cpu: usize,
    pub gfp: u64,
    pub nid: usize,
    pub nr_pages: i64,
    pub order: u64,
    pub slot: usize,
    pub nr: usize,
    pub first: usize,
    pub step: usize,
    pub node: usize,
    pub zone: usize,
    pub pcp_cpu: usize,
}

impl RawOp {
    /// The operation that is meant.
    ///
    /// # Errors
    ///
    /// For an unknown operation, and values that no machine could accept.
    pub fn parse(&self) -> Result<Op> {
        let bulk = |api| {
            Ok(OpKind::Bulk {
                api,
                gfp: Gfp::new(self.gfp)?,
                nid: self.nid,
                // The kernel takes an int, and returns at once for 0 and below.
                nr_pages: usize::try_from(self.nr_pages).unwrap_or(0),
                slot: self.slot,
            })
        };
        let (slot, nr) = (self.slot, self.nr);
        let kind = match self.op.as_str() {
            "bulk_v1" => bulk(Api::V1)?,
            "bulk_v2" => bulk(Api::V2)?,
            "alloc" => {
                let order = crate::pfn::check_order(self.order)?;
                OpKind::Alloc { gfp: Gfp::new(self.gfp)?, nid: self.nid, order, slot }
            }
            "free" => OpKind::Free { order: crate::pfn::check_order(self.order)?, slot },
            "free_range" => OpKind::FreeRange { slot, nr, reverse: false },
            "free_range_reverse" => OpKind::FreeRange { slot, nr, reverse: true },
            "free_stride" => OpKind::FreeStride { slot, nr, first: self.first, step: self.step },
            "drain_local" => OpKind::DrainLocal,
            "hold_pcp_lock" | "release_pcp_lock" => OpKind::HoldPcpLock {
                node: self.node,
                zone: self.zone,
                pcp_cpu: self.pcp_cpu,
                held: self.op == "hold_pcp_lock",
            },
            other => return Err(Error::invalid(format!("operation {other:?} is not one that the recorder knows"))),
        };
        Ok(Op { cpu: self.cpu, kind })
    }
}

/// The results of an operation, as they stand in the file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RawResult {
    pub ret: u64,
    pub events: BTreeMap<String, i64>,
    pub zones: BTreeMap<String, [i64; 7]>,
    pub pages: Vec<(u32, u32)>,
    pub kswapd: BTreeMap<usize, u8>,
}

impl RawResult {
    /// What an executed operation looks like in the file; `zones` are the zones' names, "nid.idx".
    pub fn of(result: &OpResult, zones: &[String]) -> RawResult {
        let events = RECORDED_EVENTS.iter().zip(result.events).filter(|(_, n)| *n != 0);
        RawResult {
            ret: result.ret,
            events: events.map(|(name, n)| ((*name).to_owned(), n)).collect(),
            zones: zones
                .iter()
                .cloned()
                .zip(result.zones.iter().map(|z| {
                    [
                        z.count.into(),
                        z.high.into(),
                        z.flags.into(),
                        z.alloc_factor.into(),
                        z.free_count.into(),
                        z.free_pages,
                        z.zone_flags.into(),
                    ]
                }))
                .collect(),
            pages: result.pages.clone(),
            kswapd: result.kswapd.iter().map(|&waiting| u8::from(waiting)).enumerate().collect(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Recording {
    /// State before the first operation.
    pub before: Snapshot,
    /// Operations and what the kernel returned for each.
    pub ops: Vec<(RawOp, RawResult)>,
    /// State after the last operation.
    pub after: Snapshot,
}

impl Recording {
    /// From the text of a `.jsonl` file.
    ///
    /// # Errors
    ///
    /// For text that is not a recording, with the line.
    pub fn parse(text: &str) -> Result<Recording> {
        #[derive(Deserialize)]
        struct Before {
            before: Snapshot,
        }
        #[derive(Deserialize)]
        struct After {
            after: Snapshot,
        }
        fn line<'a, T: Deserialize<'a>>(number: usize, text: &'a str) -> Result<T> {
            serde_json::from_str(text).map_err(|e| Error::snapshot(format!("line {}: {e}", number + 1)))
        }
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() < 4 {
            return Err(Error::snapshot(format!("a recording has at least 4 lines, this one has {}", lines.len())));
        }
        let end = lines.iter().rposition(|l| l.starts_with("{\"after\"")).unwrap_or(lines.len() - 1);
        Ok(Recording {
            before: line::<Before>(1, lines[1])?.before,
            ops: (2..end).map(|i| Ok((line(i, lines[i])?, line(i, lines[i])?))).collect::<Result<_>>()?,
            after: line::<After>(end, lines[end])?.after,
        })
    }
}
