// Records too large for one frame: split into parts, never cut. docs/formats/audit-log.md.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "postern/v1/audit.pb.h"

namespace postern::audit {

// `record` itself if it serializes to at most `max_bytes`, else its parts, each at most `max_bytes` when serialized.
// `part_id` is what the parts share; unique within the log. Part 1 has every field that queries look at, and the
// beginning of the statement; all parts say who, where and when. max_bytes >= 16384.
std::vector<v1::AuditRecord> SplitRecord(const v1::AuditRecord& record, std::string_view part_id, size_t max_bytes);

// The record that `parts` (all of one part_of, in order) were split from; `parts[0]` itself if it is whole.
// DATA_LOSS/PARTS_INCOMPLETE if one is missing or out of order, or they do not join to a record.
absl::StatusOr<v1::AuditRecord> JoinParts(const std::vector<v1::AuditRecord>& parts);

}  // namespace postern::audit
