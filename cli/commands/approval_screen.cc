#include "cli/commands/approval_screen.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "cli/commands/approval_view.h"
#include "cli/commands/terminal.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "fmt/format.h"
#include "postern/v1/approval.grpc.pb.h"

namespace postern::cli {
namespace {

constexpr absl::Duration kTick = absl::Seconds(1);
constexpr absl::Duration kLongestPause = absl::Seconds(10);

// The stream of approvals on a thread of its own, opened again when it breaks. Thread-safe.
class ApprovalFeed {
 public:
  explicit ApprovalFeed(Client& client)
      : stub_(client.Stub<v1::ApprovalService>()), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    thread_ = std::thread([this] { Run(); });
  }
  ~ApprovalFeed() {
    {
      absl::MutexLock lock(&mu_);
      stopping_ = true;
      if (context_ != nullptr) context_->TryCancel();
    }
    thread_.join();
    close(wake_fd_);
  }
  ApprovalFeed(const ApprovalFeed&) = delete;
  ApprovalFeed& operator=(const ApprovalFeed&) = delete;

  int wake_fd() const { return wake_fd_; }

  struct News {
    std::vector<v1::Approval> changed;
    // Why nothing comes; empty while the stream stands.
    std::string trouble;
    // Set: it will not come back, e.g. the caller may not watch.
    absl::Status fatal;
  };
  News Take() {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t drained = read(wake_fd_, &count, sizeof(count));
    absl::MutexLock lock(&mu_);
    News news{std::move(changed_), trouble_, fatal_};
    changed_.clear();
    return news;
  }

 private:
  void Run() {
    absl::Duration pause = absl::Milliseconds(250);
    for (;;) {
      auto context = std::make_unique<grpc::ClientContext>();
      {
        absl::MutexLock lock(&mu_);
        if (stopping_) return;
        context_ = context.get();
      }
      auto reader = stub_->WatchApprovals(context.get(), v1::WatchApprovalsRequest());
      v1::Approval approval;
      while (reader->Read(&approval)) {
        pause = absl::Milliseconds(250);
        absl::MutexLock lock(&mu_);
        changed_.push_back(approval);
        trouble_.clear();
        Wake();
      }
      const absl::Status end = FromGrpc(reader->Finish());
      absl::MutexLock lock(&mu_);
      context_ = nullptr;
      if (stopping_) return;
      trouble_ = end.ok() ? "the control plane ended the stream" : std::string(end.message());
      if (absl::IsPermissionDenied(end) || absl::IsUnauthenticated(end)) fatal_ = end;
      Wake();
      if (!fatal_.ok()) return;
      mu_.AwaitWithTimeout(absl::Condition(&stopping_), pause);
      pause = std::min(pause * 2, kLongestPause);
    }
  }

  void Wake() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
  }

  const std::unique_ptr<v1::ApprovalService::Stub> stub_;
  const int wake_fd_;
  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::vector<v1::Approval> changed_ ABSL_GUARDED_BY(mu_);
  std::string trouble_ ABSL_GUARDED_BY(mu_);
  absl::Status fatal_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

// "12m03s"; "now" when it is over.
std::string Left(const google::protobuf::Timestamp& until) {
  const int64_t seconds = absl::ToInt64Seconds(FromProto(until) - absl::Now());
  if (seconds <= 0) return "now";
  if (seconds >= 3600) return fmt::format("{}h{:02}m", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
}

// The end of an id, which is what tells it from others.
std::string ShortId(const std::string& id) { return id.substr(id.size() - std::min<size_t>(6, id.size())); }

// Lines of at most `width` columns; what continues is indented by two.
std::vector<std::string> Wrapped(std::string_view text, size_t width) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view rest = text.substr(0, end);
    bool first = true;
    do {
      const size_t room = first ? width : width - 2;
      size_t bytes = 0;
      for (size_t columns = 0; bytes < rest.size(); ++bytes) {
        if ((static_cast<unsigned char>(rest[bytes]) & 0xc0) != 0x80 && columns++ == room) break;
      }
      // At a space, if there is one in the second half.
      if (bytes < rest.size()) {
        if (const size_t space = rest.rfind(' ', bytes); space != std::string_view::npos && space > bytes / 2) {
          bytes = space + 1;
        }
      }
      lines.push_back((first ? "" : "  ") + std::string(rest.substr(0, bytes)));
      rest.remove_prefix(bytes);
      first = false;
    } while (!rest.empty());
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

bool IsSqlKeyword(std::string_view word) {
  static const std::set<std::string, std::less<>> kWords = {
      "alter",     "and",    "as",     "begin", "between",  "by",     "cascade", "commit", "copy",  "create",
      "delete",    "drop",   "exists", "from",  "grant",    "group",  "in",      "insert", "into",  "is",
      "join",      "left",   "like",   "limit", "merge",    "not",    "null",    "on",     "or",    "order",
      "returning", "select", "set",    "table", "truncate", "update", "using",   "values", "where", "with"};
  return kWords.contains(absl::AsciiStrToLower(AbslView(word)));
}

class ApprovalScreen {
 public:
  ApprovalScreen(Client& client, Terminal& terminal)
      : stub_(client.Stub<v1::ApprovalService>()), terminal_(terminal), feed_(client) {}

  absl::Status Run() {
    while (!quit_) {
      ApprovalFeed::News news = feed_.Take();
      if (!news.fatal.ok()) return news.fatal;
      trouble_ = std::move(news.trouble);
      for (v1::Approval& changed : news.changed) Learn(std::move(changed));
      Draw();
      Handle(terminal_.Read(feed_.wake_fd(), kTick));
    }
    return absl::OkStatus();
  }

 private:
  enum class View : uint8_t { kList, kDetail, kHelp };
  enum class Act : uint8_t { kApprove, kDeny, kShape, kGlass };

  void Learn(v1::Approval approval) {
    const std::string id = approval.id();
    const bool open = view_ == View::kDetail && id == selected_;
    // What only a look at this one brings stays while it is looked at.
    if (open && approval.earlier().empty()) *approval.mutable_earlier() = known_[id].earlier();
    known_[id] = std::move(approval);
    if (selected_.empty()) selected_ = id;
  }

  // Pending ones first, the one that expires next on top; then the decided, newest first.
  std::vector<const v1::Approval*> Shown() const {
    std::vector<const v1::Approval*> shown;
    for (const auto& [id, approval] : known_) {
      if (all_ || approval.state() == v1::APPROVAL_PENDING) shown.push_back(&approval);
    }
    std::sort(shown.begin(), shown.end(), [](const v1::Approval* a, const v1::Approval* b) {
      const bool a_waits = a->state() == v1::APPROVAL_PENDING;
      const bool b_waits = b->state() == v1::APPROVAL_PENDING;
      if (a_waits != b_waits) return a_waits;
      if (!a_waits) return a->id() > b->id();
      return std::make_pair(FromProto(a->request_expire_time()), a->id()) <
             std::make_pair(FromProto(b->request_expire_time()), b->id());
    });
    return shown;
  }

  // --- Drawing ---

  void Draw() {
    terminal_.Clear();
    const auto pending = std::count_if(known_.begin(), known_.end(),
                                       [](const auto& entry) { return entry.second.state() == v1::APPROVAL_PENDING; });
    terminal_.Put(0, 0,
                  fmt::format(" postern approvals   {} waiting{}", pending,
                              trouble_.empty() ? "" : "   NOT CONNECTED: " + trouble_),
                  Style::kTitle, /*fill=*/true);
    if (view_ == View::kHelp) {
      DrawHelp();
    } else if (view_ == View::kDetail) {
      DrawDetail();
    } else {
      DrawList();
    }
    DrawFoot();
    terminal_.Show();
  }

  int Body() const { return std::max(1, terminal_.rows() - 3); }

  void DrawList() {
    const std::vector<const v1::Approval*> shown = Shown();
    const auto here = std::find_if(shown.begin(), shown.end(),
                                   [&](const v1::Approval* approval) { return approval->id() == selected_; });
    const int at = here == shown.end() ? 0 : static_cast<int>(here - shown.begin());
    if (here == shown.end()) selected_ = shown.empty() ? "" : shown[0]->id();
    top_ = std::clamp(top_, std::max(0, at - Body() + 1), at);
    if (shown.empty()) terminal_.Put(2, 2, "Nothing is waiting.", Style::kDim);
    for (int i = top_; i < static_cast<int>(shown.size()) && i - top_ < Body(); ++i) {
      DrawRow(1 + i - top_, *shown[static_cast<size_t>(i)], i == at);
    }
  }

  void DrawRow(int row, const v1::Approval& approval, bool selected) {
    const bool waits = approval.state() == v1::APPROVAL_PENDING;
    const std::string what = approval.kind() == v1::APPROVAL_KIND_STATEMENT
                                 ? Printable(approval.binding().sql())
                                 : fmt::format("token: {}", Printable(approval.reason()));
    const std::string line =
        fmt::format(" {:<7} {:<9} {:<6} {:<14} {}", ShortId(approval.id()),
                    waits ? Left(approval.request_expire_time()) : std::string(ApprovalStateName(approval.state())),
                    approval.risk().empty() ? "-" : approval.risk(), Clip(Printable(approval.agent()), 13), what);
    Style style = !waits ? Style::kDim : approval.risk() == "high" ? Style::kBad : Style::kPlain;
    if (selected) style = Style::kSelected;
    terminal_.Put(row, 0, line, style, selected);
  }

  void DrawDetail() {
    const auto found = known_.find(selected_);
    if (found == known_.end()) return;
    const std::vector<std::string> lines =
        Wrapped(DescribeApproval(found->second), static_cast<size_t>(std::max(20, terminal_.columns() - 2)));
    most_scroll_ = std::max(0, static_cast<int>(lines.size()) - Body());
    scroll_ = std::clamp(scroll_, 0, most_scroll_);
    bool in_statement = false;
    for (size_t i = 0; i < lines.size(); ++i) {
      if (lines[i].starts_with("statement:")) in_statement = true;
      if (lines[i].starts_with("runs as:")) in_statement = false;
      const int row = 1 + static_cast<int>(i) - scroll_;
      if (row < 1 || row > Body()) continue;
      if (in_statement && !lines[i].starts_with("statement:")) {
        DrawSql(row, lines[i]);
      } else {
        terminal_.Put(row, 1, lines[i], StyleOf(lines[i]));
      }
    }
  }

  static Style StyleOf(std::string_view line) {
    if (line.starts_with("risk:") && line.find("high") != std::string_view::npos) return Style::kBad;
    if (line.starts_with("GLASS:") || line.starts_with("FREEZE:")) return Style::kBad;
    if (line.find("locks are held") != std::string_view::npos) return Style::kWarning;
    return line.starts_with("apr_") ? Style::kBold : Style::kPlain;
  }

  // The statement with its keywords marked.
  void DrawSql(int row, std::string_view line) {
    int column = 1;
    while (!line.empty()) {
      const bool word = absl::ascii_isalpha(static_cast<unsigned char>(line[0]));
      size_t end = 1;
      while (end < line.size() && absl::ascii_isalpha(static_cast<unsigned char>(line[end])) == word) ++end;
      const std::string_view part = line.substr(0, end);
      terminal_.Put(row, column, part, word && IsSqlKeyword(part) ? Style::kKeyword : Style::kBold);
      column += static_cast<int>(Columns(part));
      line.remove_prefix(end);
    }
  }

  void DrawHelp() {
    constexpr std::string_view kHelp[] = {
        "up, down, k, j   choose, or scroll",
        "enter            show in full",
        "a                approve",
        "d                deny",
        "t                approve its shape for a while, where the rule allows it",
        "b                break the glass: release it alone, owing a review",
        "h                show decided ones as well, or hide them",
        "r                look at it again",
        "q, esc           back; in the list: quit",
        "",
        "A decision asks for a comment first: enter decides, esc does not. What you decide is",
        "what you saw: if it has changed since, you are told to look again."};
    int row = 2;
    for (const std::string_view line : kHelp) terminal_.Put(row++, 2, line);
  }

  void DrawFoot() {
    const int row = terminal_.rows() - 2;
    if (asking_.has_value()) {
      constexpr std::string_view kWords[] = {"approve", "deny", "approve the shape of", "break the glass for"};
      const std::string prompt =
          fmt::format(" {} {}: comment? ", kWords[static_cast<size_t>(*asking_)], ShortId(selected_));
      // Of a long comment the end, where one writes.
      const auto room =
          static_cast<size_t>(std::max(8, terminal_.columns() - 2)) - std::min<size_t>(Columns(prompt), 40);
      std::string_view shown = comment_;
      while (Columns(shown) > room) {
        do shown.remove_prefix(1);
        while (!shown.empty() && (static_cast<unsigned char>(shown[0]) & 0xc0) == 0x80);
      }
      terminal_.Put(row, 0, prompt + std::string(shown), Style::kWarning);
      terminal_.Put(row + 1, 0, " enter: do it   esc: do not", Style::kDim);
      const int column = static_cast<int>(Columns(prompt) + Columns(shown));
      terminal_.PlaceCursor(row, std::min(column, terminal_.columns() - 1));
      return;
    }
    terminal_.Put(row, 1, message_, message_bad_ ? Style::kBad : Style::kGood);
    terminal_.Put(row + 1, 0,
                  view_ == View::kDetail ? " a approve  d deny  t shape  b break glass  j/k scroll  q back  ? help"
                                         : " enter show  a approve  d deny  h decided  j/k choose  q quit  ? help",
                  Style::kDim);
    terminal_.HideCursor();
  }

  // --- Keys ---

  void Handle(const Key& key) {
    if (key.kind == Key::Kind::kHangup) quit_ = true;
    if (key.kind == Key::Kind::kNone || key.kind == Key::Kind::kResize) return;
    if (asking_.has_value()) {
      HandleComment(key);
    } else if (view_ == View::kHelp) {
      view_ = before_help_;
    } else {
      HandleCommand(key);
    }
  }

  void HandleComment(const Key& key) {
    if (key.kind == Key::Kind::kEscape) {
      asking_.reset();
    } else if (key.kind == Key::Kind::kBackspace) {
      while (!comment_.empty() && (static_cast<unsigned char>(comment_.back()) & 0xc0) == 0x80) comment_.pop_back();
      if (!comment_.empty()) comment_.pop_back();
    } else if (key.kind == Key::Kind::kText) {
      comment_ += key.text;
    } else if (key.kind == Key::Kind::kEnter) {
      Do(*std::exchange(asking_, std::nullopt));
    }
  }

  void HandleCommand(const Key& key) {
    const char c = key.kind == Key::Kind::kText && key.text.size() == 1 ? key.text[0] : '\0';
    message_.clear();
    if (key.kind == Key::Kind::kDown || c == 'j') {
      Move(1);
    } else if (key.kind == Key::Kind::kUp || c == 'k') {
      Move(-1);
    } else if (key.kind == Key::Kind::kPageDown || c == ' ') {
      Move(Body());
    } else if (key.kind == Key::Kind::kPageUp) {
      Move(-Body());
    } else if (key.kind == Key::Kind::kHome || c == 'g') {
      Move(-100'000);
    } else if (key.kind == Key::Kind::kEnd || c == 'G') {
      Move(100'000);
    } else if (key.kind == Key::Kind::kEnter || c == 'r') {
      Look();
    } else if (key.kind == Key::Kind::kEscape || c == 'q') {
      if (view_ == View::kList) quit_ = true;
      view_ = View::kList;
    } else if (c == 'h') {
      all_ = !all_;
    } else if (c == '?') {
      before_help_ = std::exchange(view_, View::kHelp);
    } else if (c == 'a' || c == 'd' || c == 't' || c == 'b') {
      Begin(c == 'a' ? Act::kApprove : c == 'd' ? Act::kDeny : c == 't' ? Act::kShape : Act::kGlass);
    }
  }

  void Move(int by) {
    if (view_ == View::kDetail) {
      scroll_ = std::clamp(scroll_ + by, 0, most_scroll_);
      return;
    }
    const std::vector<const v1::Approval*> shown = Shown();
    if (shown.empty()) return;
    const auto here = std::find_if(shown.begin(), shown.end(),
                                   [&](const v1::Approval* approval) { return approval->id() == selected_; });
    const int at = here == shown.end() ? 0 : static_cast<int>(here - shown.begin());
    selected_ = shown[static_cast<size_t>(std::clamp(at + by, 0, static_cast<int>(shown.size()) - 1))]->id();
  }

  void Say(std::string text, bool bad) {
    message_ = std::move(text);
    message_bad_ = bad;
  }

  void Look() {
    if (selected_.empty()) return;
    if (view_ != View::kDetail) scroll_ = 0;
    view_ = View::kDetail;
    v1::GetApprovalRequest request;
    request.set_id(selected_);
    absl::StatusOr<v1::Approval> found = Call(*stub_, &v1::ApprovalService::Stub::GetApproval, request);
    if (found.ok()) {
      known_[selected_] = *std::move(found);
    } else {
      Say(std::string(found.status().message()), /*bad=*/true);
    }
  }

  // Nobody decides what they have not seen in full.
  void Begin(Act act) {
    if (selected_.empty()) return;
    if (view_ != View::kDetail) Look();
    const auto found = known_.find(selected_);
    if (found == known_.end()) return;
    if (found->second.state() != v1::APPROVAL_PENDING) {
      Say(fmt::format("it is {}", ApprovalStateName(found->second.state())), /*bad=*/true);
      return;
    }
    seen_etag_ = found->second.etag();
    comment_.clear();
    asking_ = act;
  }

  absl::StatusOr<v1::Approval> Send(Act act) {
    if (act == Act::kGlass) {
      v1::BreakGlassRequest request;
      request.set_id(selected_);
      request.set_etag(seen_etag_);
      request.set_comment(comment_);
      request.set_request_id(NewUuid(Random::System()));
      return Call(*stub_, &v1::ApprovalService::Stub::BreakGlass, request);
    }
    v1::DecideApprovalRequest request;
    request.set_id(selected_);
    request.set_etag(seen_etag_);
    request.set_comment(comment_);
    request.set_request_id(NewUuid(Random::System()));
    if (act == Act::kDeny) return Call(*stub_, &v1::ApprovalService::Stub::DenyApproval, request);
    if (act == Act::kShape) {
      const v1::TemplateSettings& most = known_[selected_].hold().template_();
      request.mutable_template_()->set_rows_max(most.rows_max());
      request.mutable_template_()->set_for_seconds(most.for_seconds());
    }
    return Call(*stub_, &v1::ApprovalService::Stub::ApproveApproval, request);
  }

  void Do(Act act) {
    absl::StatusOr<v1::Approval> decided = Send(act);
    if (!decided.ok()) {
      const std::string hint = DetailsOf(decided.status()).hint;
      Say(fmt::format("{}{}{}", std::string(decided.status().message()), hint.empty() ? "" : "; ", hint), /*bad=*/true);
      return;
    }
    const std::string id = decided->id();
    if (decided->state() == v1::APPROVAL_PENDING) {
      Say(fmt::format("your vote counts; {} more needed", decided->approvals_needed() - decided->votes_size()), false);
    } else {
      Say(fmt::format("{} is {}", id, ApprovalStateName(decided->state())), false);
      view_ = View::kList;
    }
    known_[id] = *std::move(decided);
  }

  const std::unique_ptr<v1::ApprovalService::Stub> stub_;
  Terminal& terminal_;
  ApprovalFeed feed_;
  std::map<std::string, v1::Approval> known_;
  std::string trouble_;

  View view_ = View::kList;
  View before_help_ = View::kList;
  std::string selected_;
  bool all_ = false;
  int top_ = 0;
  int scroll_ = 0;
  int most_scroll_ = 0;
  bool quit_ = false;

  std::optional<Act> asking_;
  std::string seen_etag_;
  std::string comment_;
  std::string message_;
  bool message_bad_ = false;
};

}  // namespace

absl::Status WatchScreen(Client& client) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  POSTERN_ASSIGN_OR_RETURN(Terminal* const terminal, Terminal::Open());
  const absl::Status end = ApprovalScreen(client, *terminal).Run();
  Terminal::Close();
  return end;
}

}  // namespace postern::cli
