#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/hash/hash.h"
#include "common/base/errors.h"
#include "fmt/format.h"
#include "sidecar/enforce/enforcer.h"
#include "sidecar/enforce/settings_shadow.h"

namespace postern::sidecar {
namespace {

// Settings that change neither what a statement means nor what its values look like.
constexpr std::array<std::string_view, 8> kHarmless = {
    "application_name",   "client_min_messages",
    "extra_float_digits", "idle_in_transaction_session_timeout",
    "lock_timeout",       "role",
    "search_path",        "statement_timeout",
};

// Of those that the server reports, the ones that do.
constexpr std::array<std::string_view, 5> kReportedMeaningful = {
    "DateStyle", "IntervalStyle", "TimeZone", "client_encoding", "standard_conforming_strings",
};
constexpr std::string_view kApplicationName = "application_name";

// The last values of what the server reports and anything depends on: the others are many, and of each session.
class Reported {
 public:
  void Set(std::string_view name, std::string_view value) {
    for (size_t i = 0; i < kReportedMeaningful.size(); ++i) {
      if (kReportedMeaningful[i] == name) values_[i] = std::string(value);
    }
    if (name == kApplicationName) values_.back() = std::string(value);
  }
  // nullopt: it was never reported, or nothing depends on it.
  std::optional<std::string_view> Find(std::string_view name) const {
    for (size_t i = 0; i < kReportedMeaningful.size(); ++i) {
      if (kReportedMeaningful[i] == name) return values_[i];
    }
    return name == kApplicationName ? values_.back() : std::optional<std::string_view>();
  }

 private:
  std::array<std::optional<std::string>, kReportedMeaningful.size() + 1> values_;
};

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

bool IsHarmless(std::string_view name) {
  return std::find(kHarmless.begin(), kHarmless.end(), name) != kHarmless.end() || name.starts_with("enable_") ||
         name.starts_with("geqo");
}

// Policy's `session` may set it, so a reset of it is looked after.
bool IsTerm(std::string_view name) {
  return name == "ALL" || name == "statement_timeout" || name == "default_transaction_read_only" || name == "role" ||
         name == "session_authorization";
}

// The one statement of `plan` at `index`, as an analysis of its own.
std::shared_ptr<const Prepared> PreparedFrom(const sql::Statement& statement, const Plan& plan) {
  auto prepared = std::make_shared<Prepared>();
  if (statement.begin >= 0 && statement.length >= 0 &&
      static_cast<size_t>(statement.begin) + static_cast<size_t>(statement.length) <= AnalysedText(plan).size()) {
    prepared->text =
        AnalysedText(plan).substr(static_cast<size_t>(statement.begin), static_cast<size_t>(statement.length));
  }
  prepared->by_sql = true;
  auto analysis = std::make_shared<sql::Analysis>();
  analysis->statements.push_back(statement);
  prepared->analysis = std::move(analysis);
  return prepared;
}

const sql::Statement* OnlyStatement(const std::shared_ptr<const sql::Analysis>& analysis) {
  return analysis != nullptr && analysis->statements.size() == 1 ? &analysis->statements.front() : nullptr;
}

}  // namespace

struct SessionState::Impl {
  struct OpenPortal {
    std::shared_ptr<const Portal> portal;
    uint64_t sequence = 0;  // when it was made, in an order that savepoints share
    bool hold = false;      // DECLARE … WITH HOLD: lives on when its transaction commits
    bool kept = false;      // and has done so
  };

  std::map<std::string, std::shared_ptr<const Prepared>, std::less<>> prepared;
  std::map<std::string, OpenPortal, std::less<>> portals;
  Reported reported;
  SettingsShadow settings;
  std::vector<std::string> default_path{"public"};
  std::string default_role;
  uint64_t next_sequence = 1;
  bool failed = false;  // an error since the last ReadyForQuery
  bool catalog_change_due = false;
  bool terms_uncertain = false;
  uint64_t digest = 0;
  std::optional<uint64_t> computed_for;  // version of `settings` that search_path, role and digest follow from

  void EndTransaction(bool committed) {
    if (committed) {
      if (settings.Commit()) catalog_change_due = true;
    } else {
      settings.Rollback();
    }
    for (auto& [name, portal] : portals) portal.kept = portal.kept || (portal.hold && committed);
    std::erase_if(portals, [](const auto& entry) { return !entry.second.kept; });
  }

  void RollbackTo(std::string_view name) {
    const std::optional<uint64_t> mark = settings.RollbackTo(name);
    if (!mark) return;
    std::erase_if(portals, [&](const auto& entry) { return !entry.second.kept && entry.second.sequence > *mark; });
  }

  void Transaction(const sql::Statement& statement, std::string_view tag) {
    switch (statement.transaction) {
      case sql::TransactionAction::kCommit:
      case sql::TransactionAction::kPrepare:
        // COMMIT of a failed transaction says ROLLBACK.
        EndTransaction(!tag.starts_with("ROLLBACK"));
        break;
      case sql::TransactionAction::kRollback:
        EndTransaction(false);
        break;
      case sql::TransactionAction::kSavepoint:
        settings.Savepoint(statement.savepoint, next_sequence++);
        break;
      case sql::TransactionAction::kRelease:
        settings.Release(statement.savepoint);
        break;
      case sql::TransactionAction::kRollbackTo:
        RollbackTo(statement.savepoint);
        break;
      case sql::TransactionAction::kNone:
      case sql::TransactionAction::kBegin:
      case sql::TransactionAction::kCommitPrepared:
      case sql::TransactionAction::kRollbackPrepared:
        break;
    }
  }

  void Settings(const sql::Statement& statement) {
    for (const sql::SettingChange& change : statement.settings) {
      if (change.name == "ALL") {
        settings.ResetAll(statement.tag == "DISCARD ALL");
      } else if (change.name == "session_authorization") {
        // It takes the role along.
        settings.Set("role", change.value, change.local);
      } else if (change.name == "role" && change.value == "none") {
        settings.Set("role", std::nullopt, change.local);
      } else {
        settings.Set(change.name, change.value, change.local);
      }
      // set_config() in a query may have run once, often or never.
      if (change.name == "search_path" && statement.kind != sql::StatementKind::kSet) settings.MarkPathUncertain();
    }
  }

  // The names that live outside of transactions' undo.
  void Names(const sql::Statement& statement, const Plan& plan) {
    switch (statement.kind) {
      case sql::StatementKind::kPrepare:
        prepared[statement.name] = PreparedFrom(statement, plan);
        break;
      case sql::StatementKind::kDeallocate:
        if (statement.name_all) {
          prepared.clear();
        } else {
          prepared.erase(statement.name);
        }
        break;
      case sql::StatementKind::kDeclareCursor: {
        auto cursor = std::make_shared<Portal>();
        cursor->prepared = PreparedFrom(statement, plan);
        portals[statement.name] = {std::move(cursor), next_sequence++, statement.cursor_hold, false};
        break;
      }
      case sql::StatementKind::kCloseCursor:
        if (statement.name_all) {
          portals.clear();
        } else {
          portals.erase(statement.name);
        }
        break;
      default:
        break;
    }
  }
};

SessionState::SessionState() : impl_(std::make_unique<Impl>()) { SetDefaults({"$user", "public"}, ""); }
SessionState::~SessionState() = default;

void SessionState::Recompute() {
  if (impl_->computed_for == impl_->settings.version()) return;
  impl_->computed_for = impl_->settings.version();
  const std::optional<std::string> path = impl_->settings.Get("search_path");
  search_path = path ? sql::SplitSearchPath(*path) : impl_->default_path;
  role = impl_->settings.Get("role").value_or(impl_->default_role);
  impl_->digest = absl::HashOf(search_path, role);
}

const sql::Statement* SessionState::FindPrepared(std::string_view name) const {
  const auto it = impl_->prepared.find(name);
  return it == impl_->prepared.end() ? nullptr : OnlyStatement(it->second->analysis);
}

const sql::Statement* SessionState::FindCursor(std::string_view name) const {
  const auto it = impl_->portals.find(name);
  if (it == impl_->portals.end()) return nullptr;
  const Portal& portal = *it->second.portal;
  if (portal.plan != nullptr && portal.plan->analysis != nullptr) return OnlyStatement(portal.plan->analysis);
  return portal.prepared == nullptr ? nullptr : OnlyStatement(portal.prepared->analysis);
}

void SessionState::OnParseComplete(std::string name, std::shared_ptr<const Prepared> prepared) {
  impl_->prepared[std::move(name)] = std::move(prepared);
}

void SessionState::OnBindComplete(std::string name, std::shared_ptr<const Portal> portal) {
  impl_->portals[std::move(name)] = {std::move(portal), impl_->next_sequence++, false, false};
}

void SessionState::OnCloseComplete(char kind, std::string_view name) {
  if (kind == 'S') {
    if (const auto it = impl_->prepared.find(name); it != impl_->prepared.end()) impl_->prepared.erase(it);
  } else if (const auto it = impl_->portals.find(name); it != impl_->portals.end()) {
    impl_->portals.erase(it);
  }
}

void SessionState::OnDescribed(char kind, std::string_view name, std::vector<RowField> fields) {
  if (kind == 'S') {
    const auto it = impl_->prepared.find(name);
    if (it == impl_->prepared.end()) return;
    auto described = std::make_shared<Prepared>(*it->second);
    described->fields = std::move(fields);
    it->second = std::move(described);
  } else {
    const auto it = impl_->portals.find(name);
    if (it == impl_->portals.end()) return;
    auto described = std::make_shared<Portal>(*it->second.portal);
    described->fields = std::move(fields);
    it->second.portal = std::move(described);
  }
}

std::shared_ptr<const Prepared> SessionState::prepared(std::string_view name) const {
  const auto it = impl_->prepared.find(name);
  return it == impl_->prepared.end() ? nullptr : it->second;
}

std::shared_ptr<const Portal> SessionState::portal(std::string_view name) const {
  const auto it = impl_->portals.find(name);
  return it == impl_->portals.end() ? nullptr : it->second.portal;
}

bool SessionState::terms_uncertain() const { return impl_->terms_uncertain; }
void SessionState::ConfirmTerms() { impl_->terms_uncertain = false; }

void SessionState::OnStatementComplete(const sql::Statement& statement, const Plan& plan, size_t index,
                                       std::string_view command_tag) {
  if (statement.unanalysable.has_value()) {
    // It ran where policy allows whatever it may be, and may have changed anything.
    impl_->settings.MarkPathUncertain();
    impl_->settings.MarkCatalogChanged();
    impl_->terms_uncertain = true;
    return Recompute();
  }
  impl_->Transaction(statement, command_tag);
  impl_->Settings(statement);
  impl_->Names(statement, plan);
  if (statement.tag == "DISCARD ALL") {
    impl_->prepared.clear();
    impl_->portals.clear();
  }
  if (index < plan.opaque.size() && plan.opaque[index]) {
    impl_->settings.MarkPathUncertain();
    impl_->terms_uncertain = true;
  }
  for (const sql::SettingChange& change : statement.settings) {
    if (!change.value.has_value() && IsTerm(change.name)) impl_->terms_uncertain = true;
  }
  if (statement.changes_catalog) impl_->settings.MarkCatalogChanged();
  Recompute();
}

void SessionState::OnError() { impl_->failed = true; }

void SessionState::OnQueryStart() {
  impl_->prepared.erase("");
  impl_->portals.erase("");
}

void SessionState::OnReadyForQuery(char status) {
  if (status == 'I') impl_->EndTransaction(!impl_->failed);
  impl_->failed = false;
  status_ = status;
  Recompute();
}

void SessionState::OnParameterStatus(std::string_view name, std::string_view value) {
  impl_->reported.Set(name, value);
  if (name == "search_path") {  // from 18 on
    impl_->settings.ReportPath(std::string(value), status_ != 'I');
    Recompute();
  }
}

std::string_view SessionState::reported(std::string_view name) const {
  return impl_->reported.Find(name).value_or(std::string_view());
}

void SessionState::SetDefaults(std::vector<std::string> path, std::string default_role) {
  impl_->default_path = std::move(path);
  impl_->default_role = std::move(default_role);
  impl_->computed_for.reset();
  Recompute();
}

std::vector<std::string> SessionState::MeaningfulSettings() const {
  std::vector<std::string> settings;
  settings.push_back(fmt::format("search_path={}", fmt::join(search_path, ", ")));
  settings.push_back(fmt::format("role={}", role));
  for (const std::string_view name : kReportedMeaningful) {
    if (const auto value = impl_->reported.Find(name)) {
      settings.push_back(fmt::format("{}={}", Lower(name), *value));
    }
  }
  const auto is_reported = [this](std::string_view name) {
    return std::any_of(kReportedMeaningful.begin(), kReportedMeaningful.end(), [&](std::string_view reported) {
      return Lower(reported) == name && impl_->reported.Find(reported).has_value();
    });
  };
  const SettingsShadow::Values& values = impl_->settings.values();
  for (const auto* set : {&values.session, &values.local}) {
    for (const auto& entry : *set) {
      if (IsHarmless(entry.first) || is_reported(entry.first)) continue;
      if (set == &values.session && values.local.contains(entry.first)) continue;
      settings.push_back(fmt::format("{}={}", entry.first, entry.second));
    }
  }
  std::sort(settings.begin(), settings.end());
  return settings;
}

bool SessionState::search_path_uncertain() const {
  // A failed transaction runs nothing but its end, which brings back what was before it.
  return impl_->settings.values().path_uncertain && status_ != 'E';
}

void SessionState::ConfirmSearchPath(std::string_view show_result) {
  impl_->settings.ConfirmPath(std::string(show_result), status_ != 'I');
  Recompute();
}

absl::Status SessionState::CheckReportedSettings() const {
  if (impl_->reported.Find("standard_conforming_strings").value_or("on") != "on") {
    return Error(absl::StatusCode::kFailedPrecondition, "STRINGS_NOT_CONFORMING",
                 "standard_conforming_strings is off, so that statements cannot be read as the server reads them",
                 "Leave standard_conforming_strings on.");
  }
  if (impl_->reported.Find("client_encoding").value_or("UTF8") != "UTF8") {
    return Error(absl::StatusCode::kFailedPrecondition, "ENCODING_NOT_UTF8",
                 "client_encoding is not UTF8, so that statements cannot be read as the server reads them",
                 "Leave client_encoding at UTF8.");
  }
  return absl::OkStatus();
}

uint64_t SessionState::meaning_digest() const { return impl_->digest; }
uint64_t SessionState::meaning_version() const { return impl_->settings.version(); }

bool SessionState::catalog_changed_in_transaction() const { return impl_->settings.values().catalog_changed; }

bool SessionState::TakeCatalogChange() { return std::exchange(impl_->catalog_change_due, false); }

}  // namespace postern::sidecar
