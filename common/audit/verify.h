// Offline verification of an exported audit log, with public keys only. docs/formats/audit-log.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/audit/chain.h"
#include "common/audit/checkpoint.h"
#include "common/audit/merkle.h"
#include "postern/v1/audit.pb.h"

namespace postern::audit {

enum class Damage {
  kMissing,     // a record is not there, later ones are
  kAltered,     // a record's content is not what was logged
  kMoved,       // a record is there, in another place
  kCut,         // the end is not there
  kForged,      // a checkpoint does not bear a trusted signature
  kRolledBack,  // the log is older than a checkpoint that somebody kept, or not a continuation of it
  kMalformed,   // not an export
};

// "missing", "altered", …
std::string_view DamageName(Damage damage);

// The first thing that is wrong.
struct Finding {
  Damage damage;
  // Leaf concerned. For what only the tree's root shows, the first of the leaves among which it is.
  int64_t leaf = 0;
  // The record concerned; empty where no record is known.
  std::string writer;
  std::string epoch;
  int64_t sequence = 0;
  // One sentence for people, naming all of the above.
  std::string text;
};

struct VerifyOptions {
  // Keys got by another way than the export itself. Empty: the export's own keys are used, which proves that the log is
  // of one piece, not whose it is; VerifyReport::keys_from_export says so.
  std::vector<v1::AuditKey> trusted_keys;
  // A checkpoint that somebody kept (a sidecar, an earlier verification): the export must contain it.
  std::optional<v1::Checkpoint> witnessed;
};

struct VerifyReport {
  // Nothing found: every record that the checkpoint covers is there, unaltered, in its place.
  bool ok() const { return !finding.has_value(); }
  std::optional<Finding> finding;
  int64_t from_leaf = 0;
  // Records seen, and how many of them had their body removed by retention.
  int64_t records = 0;
  int64_t without_body = 0;
  // Writers' chains followed (a writer has one per epoch).
  int64_t chains = 0;
  v1::Checkpoint checkpoint;
  bool keys_from_export = false;
};

// Takes an export item by item, in memory that does not grow with it. Not thread-safe.
class ExportVerifier {
 public:
  explicit ExportVerifier(VerifyOptions options);

  // Once a finding is certain, further items only serve to tell a missing record from a moved one.
  void Add(const v1::ExportAuditResponse& item);
  // After the last item.
  VerifyReport Finish();

 private:
  using ChainName = std::pair<std::string, std::string>;  // writer, epoch

  void AddHeader(const v1::ExportAuditResponse::Header& header);
  void AddRecord(const v1::LoggedRecord& record);
  void AddCheckpoint(const v1::Checkpoint& checkpoint);
  // False if the record is not the one that belongs here.
  bool CheckPlace(const v1::LoggedRecord& record);
  bool FollowChain(const v1::LoggedRecord& record, const Digest& record_hash);
  // Compares the tree so far with a checkpoint of its size.
  void CheckRoot(const v1::Checkpoint& checkpoint, Damage damage);
  void CheckWitnessed();
  void LookForMoved(const v1::LoggedRecord& record);
  void Found(Damage damage, int64_t leaf, std::string text, const v1::ChainedRecord* record = nullptr);

  const VerifyOptions options_;
  std::optional<CheckpointKeys> keys_;
  bool have_header_ = false;
  Frontier tree_;
  // Size of the largest tree so far that a signed checkpoint agreed with: what is wrong lies after it.
  int64_t proved_size_ = 0;
  std::map<ChainName, Chain> chains_;
  VerifyReport report_;
  // The finding says "missing": by leaf, or by (writer, epoch, sequence) if that is all that showed it.
  bool missing_by_leaf_ = false;
  bool missing_by_chain_ = false;
};

}  // namespace postern::audit
