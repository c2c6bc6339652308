// Reading the log: pages, scans, exports.
#include <charconv>
#include <utility>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/audit/audit_log.h"
#include "fmt/format.h"

namespace postern::audit {
namespace {

constexpr int kDefaultPage = 100;
constexpr int kMaxPage = 1000;
constexpr int kExportBatch = 500;
constexpr int64_t kHashBatch = 10000;
// A page in one message: below the 4 MiB that gRPC's clients take unless they are told otherwise.
constexpr size_t kPageBytes = 4'000'000;
// Of each record for its place in the page's message.
constexpr size_t kFieldBytes = 8;
// What an export or a scan holds in memory at a time.
constexpr size_t kBatchBytes = size_t{16} << 20;

absl::Status Invalid(std::string_view reason, std::string_view message, std::string_view hint = {}) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message, hint);
}

// Ties a page token to the query that it continues.
std::string QueryTag(const v1::QueryAuditRequest& request) {
  std::string filter = request.filter().SerializeAsString();
  filter += request.oldest_first() ? '1' : '0';
  const Digest digest = Sha256({filter});
  return fmt::format("{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
}

// <leaf>-<tag>
absl::StatusOr<int64_t> ParseToken(const std::string& token, const std::string& tag) {
  int64_t leaf = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), leaf);
  if (error != std::errc() || leaf < 0 || std::string_view(end, token.data() + token.size()) != "-" + tag) {
    return Invalid("PAGE_TOKEN_INVALID", "the page token does not belong to this query",
                   "Ask for the first page again.");
  }
  return leaf;
}

}  // namespace

std::vector<std::string> RelationsOf(const v1::AuditRecord& record) {
  std::vector<std::string> relations;
  for (const std::string& effect : record.effects()) {
    // "select app.orders (id, status) [derived]"; an effect without an object has no second word.
    const size_t space = effect.find(' ');
    if (space == std::string::npos) continue;
    std::string relation = effect.substr(space + 1);
    relation = relation.substr(0, std::min(relation.find(" ("), relation.find(" [")));
    if (relation.empty() || relation[0] == '(' || relation[0] == '[') continue;
    if (std::find(relations.begin(), relations.end(), relation) == relations.end()) {
      relations.push_back(std::move(relation));
    }
  }
  return relations;
}

absl::StatusOr<v1::QueryAuditResponse> AuditLog::Query(const v1::QueryAuditRequest& request) const {
  if (request.page_size() < 0 || request.page_size() > kMaxPage) {
    return Invalid("INVALID_ARGUMENT",
                   fmt::format("page_size is {}, it may be 0 to {}", request.page_size(), kMaxPage));
  }
  const int page_size = request.page_size() == 0 ? kDefaultPage : request.page_size();
  const std::string tag = QueryTag(request);
  AuditStore::Range range{
      .from = 0, .end = size(), .ascending = request.oldest_first(), .limit = page_size + 1, .most_bytes = kPageBytes};
  if (!request.page_token().empty()) {
    POSTERN_ASSIGN_OR_RETURN(const int64_t leaf, ParseToken(request.page_token(), tag));
    (range.ascending ? range.from : range.end) = leaf;
  }
  POSTERN_ASSIGN_OR_RETURN(std::vector<v1::LoggedRecord> found, store_.Find(request.filter(), range));
  v1::QueryAuditResponse response;
  size_t bytes = 0;
  for (v1::LoggedRecord& record : found) {
    bytes += record.ByteSizeLong() + kFieldBytes;
    // One that is larger by itself has a page of its own.
    const bool full = response.records_size() == page_size || (bytes > kPageBytes && response.records_size() > 0);
    if (full) break;
    *response.add_records() = std::move(record);
  }
  // Find() stops early when it has all that a page holds.
  const bool more = response.records_size() < std::ssize(found) || bytes > kPageBytes;
  if (more) {
    // Ascending: the next page begins behind the last of this one. Descending: it ends before it.
    const int64_t last = response.records(response.records_size() - 1).leaf_index();
    response.set_next_page_token(fmt::format("{}-{}", range.ascending ? last + 1 : last, tag));
  }
  return response;
}

absl::StatusOr<AuditReader::Batch> AuditLog::Scan(const v1::AuditFilter& filter, int64_t from_leaf, int64_t end_leaf,
                                                  int limit) const {
  Batch batch;
  POSTERN_ASSIGN_OR_RETURN(
      batch.records,
      store_.Find(filter,
                  {.from = from_leaf, .end = end_leaf, .ascending = true, .limit = limit, .most_bytes = kBatchBytes}));
  size_t bytes = 0;
  for (const v1::LoggedRecord& record : batch.records) bytes += record.ByteSizeLong();
  const bool full = static_cast<int>(batch.records.size()) >= limit || bytes > kBatchBytes;
  batch.next_leaf = full ? batch.records.back().leaf_index() + 1 : std::max(from_leaf, end_leaf);
  return batch;
}

absl::StatusOr<std::vector<std::string>> AuditLog::Earlier(int64_t from_leaf) const {
  Frontier earlier;
  for (int64_t at = 0; at < from_leaf; at += kHashBatch) {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<Digest> hashes,
                             store_.LeafHashes(at, std::min(from_leaf, at + kHashBatch)));
    for (const Digest& hash : hashes) earlier.Append(hash);
  }
  if (earlier.size() != from_leaf) {
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT", "leaves are missing from the audit log's store",
                 "Restore the data folder from a backup; keep this one as evidence.");
  }
  std::vector<std::string> hashes;
  for (const Digest& hash : earlier.hashes()) hashes.emplace_back(View(hash));
  return hashes;
}

absl::Status AuditLog::Export(int64_t from_leaf, const std::function<bool(const v1::ExportAuditResponse&)>& sink) {
  POSTERN_ASSIGN_OR_RETURN(const v1::Checkpoint end, CheckpointNow());
  if (from_leaf < 0 || from_leaf > end.tree_size()) {
    return Invalid("INVALID_ARGUMENT",
                   fmt::format("from_leaf is {}, the log has {} records", from_leaf, end.tree_size()));
  }
  v1::ExportAuditResponse item;
  v1::ExportAuditResponse::Header& header = *item.mutable_header();
  *header.mutable_checkpoint() = end;
  header.set_from_leaf(from_leaf);
  POSTERN_ASSIGN_OR_RETURN(const std::vector<v1::AuditKey> keys, Keys());
  for (const v1::AuditKey& key : keys) *header.add_keys() = key;
  POSTERN_ASSIGN_OR_RETURN(const std::vector<std::string> earlier, Earlier(from_leaf));
  for (const std::string& hash : earlier) header.add_earlier(hash);
  if (!sink(item)) return absl::OkStatus();

  for (int64_t at = from_leaf; at < end.tree_size();) {
    POSTERN_ASSIGN_OR_RETURN(Batch batch, Scan({}, at, end.tree_size(), kExportBatch));
    // The one over everything is in the header.
    const int64_t upto = std::min(batch.next_leaf, end.tree_size() - 1);
    POSTERN_ASSIGN_OR_RETURN(const std::vector<v1::Checkpoint> checkpoints, store_.Checkpoints(at, upto));
    auto checkpoint = checkpoints.begin();
    for (v1::LoggedRecord& record : batch.records) {
      const int64_t size = record.leaf_index() + 1;
      *item.mutable_record() = std::move(record);
      if (!sink(item)) return absl::OkStatus();
      if (checkpoint == checkpoints.end() || checkpoint->tree_size() != size) continue;
      *item.mutable_checkpoint() = *checkpoint++;
      if (!sink(item)) return absl::OkStatus();
    }
    at = batch.next_leaf;
  }
  return absl::OkStatus();
}

}  // namespace postern::audit
