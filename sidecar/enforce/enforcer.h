// From a statement to what the session must do with it.
//
// Enforcer is shared by all sessions of one target database and caches judged plans. SessionState is one session's
// picture of the server, moved only by the server's answers. Neither touches a socket.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/policy/policy.h"
#include "common/sql/analysis.h"
#include "common/sql/catalog.h"
#include "common/sql/placeholder.h"
#include "sidecar/mask/mask.h"

namespace postern::sidecar {

// Who runs the session and with what intent: fixed for its lifetime.
struct SessionIdentity {
  policy::Subject subject;
  policy::TargetView target;
  policy::IntentView intent;
  std::string role;  // that the upstream session runs as
  // Digest of all of the above: sessions with equal digests share cached plans.
  uint64_t digest = 0;
  static SessionIdentity Make(policy::Subject subject, policy::TargetView target, policy::IntentView intent,
                              std::string role);
};

// A text in which placeholders stand for masked columns, and the one that the client sent
// (common/policy/placeholder.h).
struct ChangedText {
  std::string asked;
  std::string forwarded;
  std::vector<sql::TextEdit> edits;  // of `asked`
  std::vector<std::string> columns;  // "app.customers.email: placeholder"
};

// One judged message text. Immutable and shared by the cache.
struct Plan {
  std::string text;
  // Set: this text is forwarded in place of `text`, and `analysis` and `decisions` are of it.
  std::shared_ptr<const ChangedText> changed;
  // With `changed`: what is said of `text` as it stands, for where it cannot be changed any more. It denies.
  std::shared_ptr<const Plan> unchanged;
  // Set when the text did not parse or is over the limits: SQLSTATE, message, 1-based position (0 none).
  struct Refusal {
    std::string sqlstate;
    std::string message;
    std::string detail;
    std::string hint;
    int position = 0;
  };
  std::optional<Refusal> refusal;

  std::shared_ptr<const sql::Analysis> analysis;
  std::vector<policy::Decision> decisions;  // parallel to analysis->statements
  // Worst verdict over the statements, and the first statement that has it.
  policy::Verdict verdict = policy::Verdict::kDeny;
  size_t decisive = 0;
  bool sensitive = false;
  // Some result of it is searched by content detectors.
  bool detects = false;
  // Writes, or policy says strict: the intent record must be durable before forwarding.
  bool strict_audit = false;
  // Parallel to analysis->statements: runs code that analysis does not see into (functions, triggers, rules, DO), which
  // may have changed settings by the time it completes.
  std::vector<bool> opaque;
  // What follows in the same batch of the extended protocol must not be judged before this one's answer has reached
  // SessionState: it changes settings, the catalog, prepared statements, cursors, or ends a transaction. (Within one
  // simple Query, analysis itself carries such changes from statement to statement, or refuses.)
  bool barrier = false;
  // It depends on names that only the session has (prepared statements, cursors), or was made without a catalog: it
  // holds for this moment.
  bool local = false;
  // Set: texts of the same shape whose literals at these places (of TextShape::literals) are the same are judged alike.
  std::optional<std::vector<uint32_t>> read_literals;
  // For audit and approvals.
  std::vector<std::string> effects;
  std::vector<std::string> masks;
  std::string fingerprint;
  // What AppendJudgement() says of it when it is allowed without an approval.
  std::string allowed_record;
  int64_t policy_revision = 0;
  uint64_t catalog_generation = 0;

  // The refusal or the deciding decision as ErrorResponse fields of contract.md: message starts with "postern:".
  Refusal DenyFields() const;
};

// The text of `plan.analysis`.
inline const std::string& AnalysedText(const Plan& plan) {
  return plan.changed == nullptr ? plan.text : plan.changed->forwarded;
}
// What is to be forwarded for `text`, which `plan` was given for: Plan::changed with the literals of `text`. Call it
// where Plan::changed is set. nullptr: it does not fit, and nothing may be forwarded.
std::shared_ptr<const ChangedText> ChangeFor(const Plan& plan, std::string_view text);

// True if a bind value (as sent, either format; nullopt is NULL) of a writing statement is what a mask had put out: it
// must be refused with SentinelRefusal(), else the mask would replace the data.
bool WritesSentinel(const Plan& plan, const std::vector<std::optional<std::string>>& values);
Plan::Refusal SentinelRefusal();

class SessionState;
class ProbeBudget;

// Thread-safe.
class Enforcer {
 public:
  Enforcer();
  ~Enforcer();

  // The catalog in force; a new one invalidates plans made under the old. Never nullptr once set.
  void SetCatalog(std::shared_ptr<const sql::Catalog> catalog);
  std::shared_ptr<const sql::Catalog> catalog() const;
  uint64_t catalog_generation() const;

  // Judges `text` under `policy` for the session as the server last confirmed it. Cheap when cached: a hash and a
  // look-up. A statement on rows that is allowed serves all texts of its shape (common/sql/literals.h), so Plan::text
  // may differ from `text` in literals. Plans that depend on session-local names (prepared statements, cursors) are not
  // cached.
  std::shared_ptr<const Plan> Judge(const SessionIdentity& identity, const SessionState& state,
                                    const policy::CompiledPolicy& policy, std::string_view text);

  // Origins masked for this session, for checking RowDescription. Cached per identity, policy revision and catalog.
  std::shared_ptr<const std::map<sql::ColumnId, v1::MaskStrategy>> MaskedOrigins(const SessionIdentity& identity,
                                                                                 const policy::CompiledPolicy& policy);

  // What the grants of this database have spent of their tests of masked columns.
  ProbeBudget& probes();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One column as RowDescription says it.
struct RowField {
  std::string name;
  sql::Oid table = 0;
  int16_t attnum = 0;
  sql::Oid type = 0;
  int16_t format = 0;
};

// Combines the plan's masks with the server's own word. Masks come out in row order.
//   PERMISSION_DENIED/ORIGIN_MISMATCH: the server names a masked origin that the plan shows in clear, or the column
//   counts differ: nothing of the result may go out and an ALARM is due.
absl::StatusOr<std::vector<mask::ColumnMask>> BindMasks(
    const policy::Decision& decision, const sql::Statement& statement, const std::vector<RowField>& fields,
    const std::map<sql::ColumnId, v1::MaskStrategy>& masked_origins);

// The same for COPY … TO STDOUT, which has no RowDescription: `column_count` is of CopyOutResponse, types come from the
// catalog. Errors as BindMasks.
absl::StatusOr<std::vector<mask::ColumnMask>> BindCopyMasks(
    const policy::Decision& decision, const sql::Statement& statement, int column_count, const sql::Catalog& catalog,
    const std::map<sql::ColumnId, v1::MaskStrategy>& masked_origins);

// Fields of a described statement with the result formats of Bind (none: text; one: for all; else one each).
std::vector<RowField> WithFormats(std::vector<RowField> fields, const std::vector<int16_t>& result_formats);

// A prepared statement as the server has it.
struct Prepared {
  std::string text;  // as the server has it
  // Set: the client asked for another.
  std::shared_ptr<const ChangedText> changed;
  std::vector<uint32_t> parameter_types;
  // By SQL PREPARE: `text` is the PREPARE statement itself and `inner` its analysed body.
  bool by_sql = false;
  std::shared_ptr<const sql::Analysis> analysis;  // as last judged
  // From Describe, if the server has described it: result columns.
  std::optional<std::vector<RowField>> fields;
};

struct Portal {
  std::string statement;  // name of the prepared statement; empty text portals come from DECLARE
  std::shared_ptr<const Prepared> prepared;
  std::vector<std::optional<std::string>> values;
  std::vector<int16_t> value_formats;
  std::vector<int16_t> result_formats;
  std::shared_ptr<const Plan> plan;  // of the last Execute
  std::optional<std::vector<RowField>> fields;
};

// The server's view of one session. Not thread-safe: the session's event loop owns it. Every mutator is called when the
// server's answer arrives, in order, never when the client asks : the server decides what happened.
class SessionState : public sql::SessionView {
 public:
  SessionState();
  ~SessionState() override;

  const sql::Statement* FindPrepared(std::string_view name) const override;
  const sql::Statement* FindCursor(std::string_view name) const override;

  // Extended protocol.
  void OnParseComplete(std::string name, std::shared_ptr<const Prepared> prepared);
  void OnBindComplete(std::string name, std::shared_ptr<const Portal> portal);
  void OnCloseComplete(char kind, std::string_view name);  // 'S' or 'P'
  void OnDescribed(char kind, std::string_view name, std::vector<RowField> fields);
  std::shared_ptr<const Prepared> prepared(std::string_view name) const;
  std::shared_ptr<const Portal> portal(std::string_view name) const;

  // A statement ended with CommandComplete: its settings, PREPARE/DEALLOCATE/DECLARE/CLOSE/DISCARD take effect.
  void OnStatementComplete(const sql::Statement& statement, const Plan& plan, size_t index,
                           std::string_view command_tag);
  // An ErrorResponse arrived, in whatever phase: an implicit transaction will be rolled back at its ReadyForQuery.
  void OnError();
  // A simple Query begins: the unnamed statement and portal die.
  void OnQueryStart();
  void OnReadyForQuery(char status);  // 'I', 'T', 'E': commits or reverts what the transaction changed
  void OnParameterStatus(std::string_view name, std::string_view value);
  // As last reported: application_name or a parameter that statements' meaning depends on. Empty if it never was.
  std::string_view reported(std::string_view name) const;
  char transaction_status() const { return status_; }

  // search_path and role as confirmed; set by start-up.
  void SetDefaults(std::vector<std::string> search_path, std::string role);
  // Settings that change meaning, as "name=value", for approval bindings.
  std::vector<std::string> MeaningfulSettings() const;
  // True if a completed statement may have changed search_path in a way that the shadow cannot follow; the session then
  // asks the server (SHOW search_path) before judging anything else.
  bool search_path_uncertain() const;
  void ConfirmSearchPath(std::string_view show_result);
  // True after statements that may have undone, unseen, what policy sets for the session: code that analysis does not
  // look into, RESET ALL, DISCARD ALL and resets of the names that policy may set.
  bool terms_uncertain() const;
  void ConfirmTerms();
  // OK, or why the session must end: standard_conforming_strings off, client_encoding not UTF8.
  absl::Status CheckReportedSettings() const;
  // Hash of what plans depend on: search_path, role.
  uint64_t meaning_digest() const;
  // Another number whenever one of those, or whether they are certain, may have changed.
  uint64_t meaning_version() const;

  // True while the open transaction holds a change of the catalog that no other session can see: Judge refuses to
  // resolve names meanwhile.
  bool catalog_changed_in_transaction() const;
  // True once after such a transaction has ended: the catalog must be read again before anything else is judged.
  bool TakeCatalogChange();

 private:
  // Sets search_path, role and the digest from what is shadowed.
  void Recompute();

  struct Impl;
  std::unique_ptr<Impl> impl_;
  char status_ = 'I';
};

}  // namespace postern::sidecar
