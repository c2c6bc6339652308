#include "common/audit/verify.h"

#include "absl/strings/escaping.h"
#include "common/base/strings.h"
#include "fmt/format.h"

namespace postern::audit {
namespace {

std::string Name(const v1::ChainedRecord& record) {
  return fmt::format("record {} of writer {} (epoch {})", record.sequence(), record.writer(), record.epoch());
}

std::string Text(const absl::Status& status) { return std::string(status.message()); }

}  // namespace

std::string_view DamageName(Damage damage) {
  switch (damage) {
    case Damage::kMissing:
      return "missing";
    case Damage::kAltered:
      return "altered";
    case Damage::kMoved:
      return "moved";
    case Damage::kCut:
      return "cut";
    case Damage::kForged:
      return "forged";
    case Damage::kRolledBack:
      return "rolled back";
    case Damage::kMalformed:
      return "malformed";
  }
  return "malformed";
}

ExportVerifier::ExportVerifier(VerifyOptions options) : options_(std::move(options)) {}

void ExportVerifier::Found(Damage damage, int64_t leaf, std::string text, const v1::ChainedRecord* record) {
  if (report_.finding) return;
  Finding finding{.damage = damage, .leaf = leaf, .writer = {}, .epoch = {}, .sequence = 0, .text = std::move(text)};
  if (record != nullptr) {
    finding.writer = record->writer();
    finding.epoch = record->epoch();
    finding.sequence = record->sequence();
  }
  report_.finding = std::move(finding);
}

void ExportVerifier::Add(const v1::ExportAuditResponse& item) {
  if (!have_header_ && !item.has_header()) {
    Found(Damage::kMalformed, 0, "the export does not begin with its header");
    return;
  }
  switch (item.item_case()) {
    case v1::ExportAuditResponse::kHeader:
      return AddHeader(item.header());
    case v1::ExportAuditResponse::kRecord:
      return AddRecord(item.record());
    case v1::ExportAuditResponse::kCheckpoint:
      return AddCheckpoint(item.checkpoint());
    case v1::ExportAuditResponse::ITEM_NOT_SET:
      return Found(Damage::kMalformed, tree_.size(), "the export has an item of an unknown sort");
  }
}

void ExportVerifier::AddHeader(const v1::ExportAuditResponse::Header& header) {
  if (have_header_) return Found(Damage::kMalformed, tree_.size(), "the export has a second header");
  have_header_ = true;
  report_.checkpoint = header.checkpoint();
  report_.from_leaf = header.from_leaf();
  report_.keys_from_export = options_.trusted_keys.empty();
  auto keys = CheckpointKeys::Make(report_.keys_from_export
                                       ? std::vector<v1::AuditKey>(header.keys().begin(), header.keys().end())
                                       : options_.trusted_keys);
  if (!keys.ok()) return Found(Damage::kMalformed, 0, Text(keys.status()));
  keys_ = *std::move(keys);
  if (absl::Status signature = keys_->Verify(header.checkpoint()); !signature.ok()) {
    return Found(Damage::kForged, header.checkpoint().tree_size(), Text(signature));
  }
  std::string earlier;
  for (const std::string& hash : header.earlier()) earlier += hash;
  auto tree = Frontier::Parse(header.from_leaf(), earlier);
  if (!tree.ok()) return Found(Damage::kMalformed, 0, Text(tree.status()));
  tree_ = *std::move(tree);
  proved_size_ = tree_.size();
  if (tree_.size() > header.checkpoint().tree_size()) {
    return Found(Damage::kMalformed, tree_.size(), "the export begins after the end of the log");
  }
  if (!options_.witnessed) return;
  if (absl::Status signature = keys_->Verify(*options_.witnessed); !signature.ok()) {
    return Found(Damage::kForged, options_.witnessed->tree_size(),
                 fmt::format("the checkpoint to compare with is not genuine: {}", Text(signature)));
  }
  if (options_.witnessed->tree_size() > header.checkpoint().tree_size()) {
    return Found(Damage::kRolledBack, header.checkpoint().tree_size(),
                 fmt::format("the log was rolled back: it has {} records, a checkpoint kept from earlier has {}",
                             header.checkpoint().tree_size(), options_.witnessed->tree_size()));
  }
  CheckWitnessed();
}

void ExportVerifier::AddRecord(const v1::LoggedRecord& record) {
  if (report_.finding) return LookForMoved(record);
  ++report_.records;
  if (record.chained().record().empty() && !record.record_hash().empty()) ++report_.without_body;
  if (!CheckPlace(record)) return;
  auto record_hash = RecordHash(record);
  auto data = LeafData(record);
  if (!record_hash.ok() || !data.ok()) {
    return Found(Damage::kAltered, record.leaf_index(),
                 fmt::format("{} at leaf {} is altered: {}", Name(record.chained()), record.leaf_index(),
                             Text(record_hash.ok() ? data.status() : record_hash.status())),
                 &record.chained());
  }
  if (!FollowChain(record, *record_hash)) return;
  tree_.Append(LeafHash(*data));
  CheckWitnessed();
}

bool ExportVerifier::CheckPlace(const v1::LoggedRecord& record) {
  const int64_t expected = tree_.size();
  const int64_t end = report_.checkpoint.tree_size();
  if (expected >= end) {
    Found(Damage::kMoved, record.leaf_index(),
          fmt::format("{} stands after the end of the log, which its checkpoint puts at {} records",
                      Name(record.chained()), end),
          &record.chained());
    return false;
  }
  if (record.leaf_index() == expected) return true;
  if (record.leaf_index() < expected) {
    Found(Damage::kMoved, record.leaf_index(),
          fmt::format("{} (leaf {}) is moved or repeated: it stands where leaf {} belongs", Name(record.chained()),
                      record.leaf_index(), expected),
          &record.chained());
    return false;
  }
  Found(Damage::kMissing, expected,
        fmt::format("leaf {} is missing: leaf {} follows leaf {}", expected, record.leaf_index(), expected - 1));
  missing_by_leaf_ = true;
  return false;
}

bool ExportVerifier::FollowChain(const v1::LoggedRecord& record, const Digest& record_hash) {
  const v1::ChainedRecord& chained = record.chained();
  const ChainName name(chained.writer(), chained.epoch());
  auto chain = chains_.find(name);
  if (chain == chains_.end()) {
    ++report_.chains;
    if (report_.from_leaf > 0 && chained.sequence() > 1) {
      // Its beginning is before the export; the root vouches for this link, and the chain is followed from here on.
      chains_.emplace(name, Chain(chained.writer(), chained.epoch(), chained.sequence(), chained.chain_hash()));
      return true;
    }
    chain = chains_.emplace(name, Chain(chained.writer(), chained.epoch())).first;
  }
  const absl::Status follows = chain->second.Follow(chained, record_hash);
  if (follows.ok()) return true;
  const int64_t expected = chain->second.sequence() + 1;
  if (chained.sequence() > expected) {
    v1::ChainedRecord missing = chained;
    missing.set_sequence(expected);
    Found(Damage::kMissing, record.leaf_index(),
          fmt::format("{} is missing: {} stands at leaf {} in its place", Name(missing), Name(chained),
                      record.leaf_index()),
          &missing);
    missing_by_chain_ = true;
  } else if (chained.sequence() < expected) {
    Found(Damage::kMoved, record.leaf_index(),
          fmt::format("{} is moved or repeated: it stands at leaf {}, after record {} of its writer", Name(chained),
                      record.leaf_index(), expected - 1),
          &chained);
  } else {
    Found(Damage::kAltered, record.leaf_index(),
          fmt::format("{} at leaf {} is altered: its content and the record before it do not give its chain hash",
                      Name(chained), record.leaf_index()),
          &chained);
  }
  return false;
}

void ExportVerifier::LookForMoved(const v1::LoggedRecord& record) {
  Finding& finding = *report_.finding;
  const v1::ChainedRecord& chained = record.chained();
  const bool by_leaf = missing_by_leaf_ && record.leaf_index() == finding.leaf;
  const bool by_chain = missing_by_chain_ && chained.writer() == finding.writer && chained.epoch() == finding.epoch &&
                        chained.sequence() == finding.sequence;
  if (!by_leaf && !by_chain) return;
  missing_by_leaf_ = missing_by_chain_ = false;
  finding.damage = Damage::kMoved;
  finding.writer = chained.writer();
  finding.epoch = chained.epoch();
  finding.sequence = chained.sequence();
  finding.text =
      fmt::format("{} is moved: it belongs at leaf {}, and stands further back", Name(chained), finding.leaf);
}

void ExportVerifier::AddCheckpoint(const v1::Checkpoint& checkpoint) {
  if (report_.finding) return;
  if (absl::Status signature = keys_->Verify(checkpoint); !signature.ok()) {
    return Found(Damage::kForged, checkpoint.tree_size(), Text(signature));
  }
  if (checkpoint.tree_size() > tree_.size()) {
    // It is sent right after the last record that it covers; that one, or one before it, is not here.
    Found(Damage::kMissing, tree_.size(),
          fmt::format("leaf {} is missing: a checkpoint over {} records stands after {}", tree_.size(),
                      checkpoint.tree_size(), tree_.size()));
    missing_by_leaf_ = true;
    return;
  }
  if (checkpoint.tree_size() < tree_.size()) {
    return Found(
        Damage::kMalformed, tree_.size(),
        fmt::format("a checkpoint over {} records stands after record {}", checkpoint.tree_size(), tree_.size()));
  }
  CheckRoot(checkpoint, Damage::kAltered);
}

void ExportVerifier::CheckWitnessed() {
  if (options_.witnessed && options_.witnessed->tree_size() == tree_.size()) {
    CheckRoot(*options_.witnessed, Damage::kRolledBack);
  }
}

void ExportVerifier::CheckRoot(const v1::Checkpoint& checkpoint, Damage damage) {
  if (checkpoint.root_hash() == View(tree_.Root())) {
    proved_size_ = tree_.size();
    return;
  }
  const std::string where = proved_size_ + 1 >= tree_.size()
                                ? fmt::format("leaf {}", proved_size_)
                                : fmt::format("one of the leaves {} to {}", proved_size_, tree_.size() - 1);
  if (damage == Damage::kRolledBack) {
    return Found(
        damage, proved_size_,
        fmt::format("the log is not a continuation of the checkpoint over {} records that was kept: {} differs",
                    checkpoint.tree_size(), where));
  }
  Found(damage, proved_size_,
        fmt::format("{} is altered or moved: the tree over {} records has root {}, the signed checkpoint says {}",
                    where, tree_.size(), absl::Base64Escape(AbslView(View(tree_.Root()))),
                    absl::Base64Escape(checkpoint.root_hash())));
}

VerifyReport ExportVerifier::Finish() {
  if (!have_header_) Found(Damage::kMalformed, 0, "the export is empty");
  if (report_.finding) return report_;
  const v1::Checkpoint& end = report_.checkpoint;
  if (tree_.size() < end.tree_size()) {
    Found(Damage::kCut, tree_.size(),
          fmt::format("the end is cut off: the checkpoint covers {} records, leaf {} and those after it are not there",
                      end.tree_size(), tree_.size()));
    return report_;
  }
  CheckRoot(end, Damage::kAltered);
  return report_;
}

}  // namespace postern::audit
