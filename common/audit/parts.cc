#include "common/audit/parts.h"

#include <algorithm>

#include "common/audit/chain.h"
#include "common/base/errors.h"
#include "fmt/format.h"

namespace postern::audit {
namespace {

// Of max_bytes, what part 1 may use for fields of its own; the rest is chunk.
constexpr size_t kHeadShare = 4;

// The longest prefix of at most `bytes` that does not end within a UTF-8 character.
std::string Prefix(const std::string& text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

// Who, where and when: what every part repeats. These are names, whose length the protocol bounds; shortened here all
// the same, since a part that cannot be written would be worse than one with a shortened name (the chunks have it
// whole).
v1::AuditRecord Common(const v1::AuditRecord& record) {
  constexpr size_t kName = 128;
  v1::AuditRecord common;
  common.set_kind(record.kind());
  *common.mutable_time() = record.time();
  common.set_agent(Prefix(record.agent(), kName));
  common.set_on_behalf_of(Prefix(record.on_behalf_of(), kName));
  common.set_grant_id(Prefix(record.grant_id(), kName));
  common.set_session_id(Prefix(record.session_id(), kName));
  common.set_client_address(Prefix(record.client_address(), kName));
  common.set_target(Prefix(record.target(), kName));
  common.set_database(Prefix(record.database(), kName));
  common.set_role(Prefix(record.role(), kName));
  common.set_execution(record.execution());
  return common;
}

// Part 1's own fields: as many of those that queries look at as fit into `bytes`.
v1::AuditRecord Head(const v1::AuditRecord& record, size_t bytes) {
  constexpr size_t kShort = 256;
  v1::AuditRecord head = Common(record);
  head.set_fingerprint(Prefix(record.fingerprint(), kShort));
  head.set_decision(Prefix(record.decision(), kShort));
  head.set_rule(Prefix(record.rule(), kShort));
  head.set_reason_code(Prefix(record.reason_code(), kShort));
  head.set_policy_revision(record.policy_revision());
  head.set_approval_id(Prefix(record.approval_id(), kShort));
  head.set_command_tag(Prefix(record.command_tag(), kShort));
  head.set_sqlstate(Prefix(record.sqlstate(), kShort));
  head.set_rows(record.rows());
  head.set_bytes(record.bytes());
  head.set_duration_micros(record.duration_micros());
  head.set_outcome(Prefix(record.outcome(), kShort));
  head.set_action(Prefix(record.action(), kShort));
  head.set_object(Prefix(record.object(), kShort));
  size_t used = head.ByteSizeLong();
  constexpr size_t kFieldOverhead = 8;
  for (const std::string& effect : record.effects()) {
    if (used + effect.size() + kFieldOverhead > bytes / 2 + used / 2) break;
    head.add_effects(effect);
    used += effect.size() + kFieldOverhead;
  }
  if (used + kFieldOverhead < bytes) head.set_sql(Prefix(record.sql(), bytes - used - kFieldOverhead));
  return head;
}

}  // namespace

std::vector<v1::AuditRecord> SplitRecord(const v1::AuditRecord& record, std::string_view part_id, size_t max_bytes) {
  if (record.ByteSizeLong() <= max_bytes) return {record};
  const std::string whole = SerializeRecord(record);
  // What part_of, part, parts and the chunk's own tag and length take.
  const size_t numbering = part_id.size() + 32;

  std::vector<v1::AuditRecord> parts;
  for (size_t at = 0; at < whole.size();) {
    v1::AuditRecord part = parts.empty() ? Head(record, max_bytes / kHeadShare) : Common(record);
    const size_t room = max_bytes - std::min(max_bytes - 1, part.ByteSizeLong() + numbering);
    part.set_part_of(std::string(part_id));
    part.set_part(static_cast<int32_t>(parts.size() + 1));
    part.set_chunk(whole.substr(at, room));
    at += part.chunk().size();
    parts.push_back(std::move(part));
  }
  for (v1::AuditRecord& part : parts) part.set_parts(static_cast<int32_t>(parts.size()));
  return parts;
}

absl::StatusOr<v1::AuditRecord> JoinParts(const std::vector<v1::AuditRecord>& parts) {
  if (parts.size() == 1 && parts[0].parts() == 0) return parts[0];
  std::string whole;
  for (size_t i = 0; i < parts.size(); ++i) {
    const v1::AuditRecord& part = parts[i];
    if (part.part_of() != parts[0].part_of() || part.part() != static_cast<int32_t>(i + 1) ||
        part.parts() != static_cast<int32_t>(parts.size())) {
      return Error(absl::StatusCode::kDataLoss, "PARTS_INCOMPLETE",
                   fmt::format("part {} of split record {} is missing or out of place", i + 1, parts[0].part_of()));
    }
    whole += part.chunk();
  }
  v1::AuditRecord record;
  if (parts.empty() || !record.ParseFromString(whole)) {
    return Error(absl::StatusCode::kDataLoss, "PARTS_INCOMPLETE", "the parts do not join to a record");
  }
  return record;
}

}  // namespace postern::audit
