// Between an authenticated client and its server: judges what the client sends, forwards what may go, and rewrites what
// comes back.
//
// Two coroutines on one event loop. RunFrontend() reads the client: it gathers messages up to a Sync, a Flush or a
// Query, waits until the server owes nothing (so that the state it judges by is the server's), judges all of it, has it
// recorded, and only then forwards. RunBackend() reads the server, answers the queue of expectations, and masks.
//
//   relay_frontend.cc  the client's message loop, COPY, simple queries
//   relay_batch.cc     the extended protocol
//   relay_hold.cc      statements that wait for people
//   relay_backend.cc   the server's answers
//   relay.cc           what they share
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sidecar/enforce/enforcer.h"
#include "sidecar/enforce/probes.h"
#include "sidecar/reactor/event_loop.h"
#include "sidecar/reactor/stream.h"
#include "sidecar/reactor/task.h"
#include "sidecar/session/answers.h"
#include "sidecar/session/audit_trail.h"
#include "sidecar/session/services.h"
#include "sidecar/session/session_info.h"
#include "sidecar/session/upstream.h"
#include "sidecar/session/warm_pool.h"
#include "sidecar/wire/framing.h"

namespace postern::session {

class Relay {
 public:
  // A request that was made for a statement which has returned.
  struct AskedFor {
    std::string id;
    absl::Time until;
  };
  // Called once, when the relay is over; from inside one of its coroutines or its methods.
  using OnEnd = std::function<void()>;

  // Nothing is owned but the connection to the server. `client` is past its start-up.
  Relay(reactor::EventLoop& loop, const Services& services, const SessionInfo& info, reactor::Stream& client,
        UpstreamConnection upstream, AuditTrail& audit, WarmPool& warm);

  // Has the database show whose session this is, and asks for the settings that judging depends on. Before the client
  // hears ReadyForQuery.
  reactor::Task<absl::Status> Prepare();
  // What the server has reported of its parameters up to now. From then on the client hears of changes at once.
  Parameters TakeParameters();
  // Both run until the relay has ended. RunBackend() is started first, Prepare() needs it.
  reactor::Task<void> RunFrontend();
  reactor::Task<void> RunBackend();

  // Judges a text that is not forwarded as it is: the start-up search_path.
  std::shared_ptr<const sidecar::Plan> JudgeText(std::string_view text);

  // Ends the session: FATAL to the client if `ending` has one, cancel and close towards the server. Idempotent.
  void End(Ending ending);
  bool ended() const { return ended_; }
  const std::string& end_reason() const { return end_reason_; }
  void OnEnded(OnEnd fn) { on_end_ = std::move(fn); }

  // The client asked for the cancellation of what runs.
  void Cancel();
  // Ends as soon as nothing is under way.
  void Drain(Ending ending);

 private:
  struct Held;
  struct HoldResult;
  struct BatchItem;
  struct Batch;
  struct OurResult {
    bool ok = false;
    std::string sqlstate = {};
    std::string message = {};
    std::string error_body = {};
    std::optional<std::string> value = {};  // first column of the first row
  };

  // What judgements depend on, and those that were made under it. All of it is replaced when any of it moves.
  struct Grounds {
    std::shared_ptr<const sidecar::ControlState> control;
    uint64_t catalog_generation = 0;
    uint64_t meaning_version = 0;
    std::shared_ptr<const MaskedOrigins> origins;
    std::string search_path;
    // Policy allows whatever a statement may be, so that none needs to be understood.
    bool everything = false;
    std::unordered_map<std::shared_ptr<const sidecar::Prepared>, std::shared_ptr<const sidecar::Plan>> prepared;
  };

  // --- relay.cc ---
  std::string_view Unread() const { return std::string_view(in_).substr(consumed_); }
  void Consume(size_t size);
  // Waits for more bytes of the client. False: the session is over.
  reactor::Task<bool> ReadClient();
  // Waits until the server owes nothing, or has begun a COPY from us. False: the session is over.
  reactor::Task<bool> WaitQuiet();
  // Waits until the state is fit to judge by: catalog and search_path known. Returns why not.
  reactor::Task<std::shared_ptr<const wire::ErrorFields>> Settle();
  reactor::Task<absl::Status> RefreshCatalog();
  // Ends the session for `unsafe_setting_`.
  void EndForSetting();
  // Puts right what policy sets for the session, where a statement may have changed it unseen. False: it cannot, and
  // the session was ended.
  reactor::Task<bool> HoldTerms();
  // True if `plan` failed for names that a newer catalog may know, and the catalog at hand is old enough to ask again:
  // another session may just have made them. Marks the catalog stale, so that Settle() reads it.
  bool AskForNewerCatalog(const sidecar::Plan& plan);
  // A simple query of our own, whose answers the client does not see.
  reactor::Task<OurResult> OurQuery(std::string_view text);
  std::shared_ptr<Execution> NewExecution(std::shared_ptr<const sidecar::Plan> plan);
  // What an execution that is not refused takes from the grant's budget of tests of masked columns. `portal`: its bind
  // values; nullptr: a simple query.
  std::optional<sidecar::Probes> ProbesOf(const sidecar::Portal* portal, const Execution& execution) const;
  // Makes the execution's plan a refusal if the budget is too small for it, before anybody is asked to approve it.
  void RefuseIfSpent(const sidecar::Portal* portal, Execution* execution) const;
  // Takes it from the budget, just before it is recorded and forwarded. False: the plan is a refusal now.
  bool SpendProbes(const sidecar::Portal* portal, Execution* execution);
  // Judges the text of a prepared statement; the same as JudgeText(), but remembers.
  std::shared_ptr<const sidecar::Plan> JudgePrepared(const std::string& name,
                                                     const std::shared_ptr<const sidecar::Prepared>& prepared);
  // Tells the client in a NOTICE which columns placeholders stand for. When the server owes nothing.
  void SayPlaceholders(const sidecar::ChangedText& changed);
  // What judging stands on now. Good until the next wait.
  Grounds& NowGrounds();
  const std::string& SearchPathText();
  // Has the message recorded with its refusal. The client's error is sent whatever the spool says.
  void RecordDenied(const Execution& execution, std::string_view sql, const sidecar::Portal* portal,
                    const wire::ErrorFields& denial);
  void Fatal(std::string_view sqlstate, std::string_view message, std::string_view detail, std::string_view reason);
  // True if another session may have the connection now that this one has ended for `reason`.
  bool LeavesNothing(std::string_view reason) const;
  bool SessionInTransaction() const { return unsynced_ || state_.transaction_status() != 'I'; }

  // --- relay_frontend.cc ---
  reactor::Task<bool> HandleQuery(wire::Message message);
  reactor::Task<bool> HandleFunctionCall(wire::Message message);
  reactor::Task<bool> ForwardQuery(std::string_view whole, std::shared_ptr<Execution> execution);
  reactor::Task<bool> ForwardLimitedQuery(std::string_view whole, std::shared_ptr<Execution> execution);
  reactor::Task<bool> DenySimple(std::shared_ptr<const wire::ErrorFields> denial);
  void SendMarkerQuery(std::shared_ptr<const wire::ErrorFields> denial);
  // Messages while the server reads a COPY from the client, and stray ones. False: need more bytes.
  bool HandleCopyMessage(const wire::Header& header);
  reactor::Task<bool> HandleSimple(wire::Message message);

  // --- relay_batch.cc ---
  reactor::Task<bool> HandleBatch(size_t size);
  // Takes the messages of the batch apart. False: one is malformed, and the session was ended.
  bool ReadBatch(std::string_view bytes, Batch* batch);
  void JudgeBatch(Batch* batch);
  bool JudgeParse(BatchItem* item, Batch* batch);
  bool JudgeBind(BatchItem* item, Batch* batch);
  bool JudgeExecute(BatchItem* item, Batch* batch);
  bool JudgeDescribeOrClose(BatchItem* item, Batch* batch);
  reactor::Task<bool> ForwardBatch(Batch* batch);
  void SendMarkerExecute(std::shared_ptr<const wire::ErrorFields> denial);
  std::shared_ptr<const sidecar::Prepared> FindPrepared(const Batch& batch, const std::string& name) const;
  std::shared_ptr<const sidecar::Portal> FindPortal(const Batch& batch, const std::string& name) const;

  // --- relay_hold.cc ---
  // Waits for the approval of everything in `held`, and claims it.
  reactor::Task<HoldResult> Hold(std::vector<Held> held);
  reactor::Task<HoldResult> HoldOne(Held* held);
  reactor::Task<HoldResult> ClaimOne(Held* held);
  v1::RequestStatementApprovalRequest ApprovalRequest(const Held& held);
  void TellHeld(const v1::Approval& approval);
  // Has the database looked at for the approvers, where the rule allows it.
  void AskForPreview(const Held& held);
  // Cancels the statement when it still runs after `limit`.
  void StartRunClock(absl::Duration limit, const std::shared_ptr<Execution>& execution);
  // `after`: for a client that is gone, the policies' `on_disconnect`, in which it may come back and join.
  void Withdraw(const Held& held, std::string_view reason, absl::Duration after = absl::ZeroDuration());

  // --- relay_backend.cc ---
  // Handles what has arrived: `bytes`, after what is kept of the last call. False: the session is over.
  bool ProcessServer(std::string_view bytes);
  bool HandleServerMessage(const wire::Message& message);
  bool OnRowDescription(const wire::Message& message);
  bool OnDataRow(const wire::Message& message);
  bool OnCommandComplete(const wire::Message& message);
  bool OnReady(const wire::Message& message);
  bool OnServerError(const wire::Message& message);
  // An error's or notice's body with its position in the text that the client sent, where another was forwarded.
  std::string InAskedText(std::string_view body);
  bool OnParameterStatus(const wire::Message& message);
  bool OnCopyResponse(const wire::Message& message);
  bool OnCopyData(const wire::Message& message);
  bool OnOurs(const wire::Message& message);
  bool BindMasksFor(Execution* execution, const std::vector<sidecar::RowField>& fields);
  // Remembers which columns of the result are searched; and what was found in them.
  void NoteSearched(const std::vector<mask::ColumnMask>& masks, Execution* execution);
  void CollectFound(Execution* execution);
  bool OriginMismatch(const absl::Status& status);
  bool Unexpected(const wire::Message& message);
  void FinishExecution(Execution* execution, std::string_view outcome);
  // The same by what the server answered: completed, cancelled or failed.
  void FinishAnswered(Execution* execution);
  void ToClient(std::string_view bytes);
  Execution* FrontExecution();
  // True if the bytes of rows and COPY data of the front go to the client as they are.
  bool PassesThrough(char type);
  void Answered();

  reactor::EventLoop& loop_;
  const Services& services_;
  const SessionInfo& info_;
  reactor::Stream& client_;
  UpstreamConnection upstream_;
  AuditTrail& audit_;
  WarmPool& warm_;
  sidecar::SessionState state_;
  AnswerQueue answers_;
  const std::string marker_;  // name of a portal and savepoint that cannot exist

  std::unique_ptr<Grounds> grounds_;

  // Client side.
  std::string in_;
  size_t consumed_ = 0;
  size_t pass_to_server_ = 0;  // bytes of a CopyData under way
  size_t drop_from_client_ = 0;
  bool skip_to_sync_ = false;
  bool unsynced_ = false;  // extended messages went upstream since the last ReadyForQuery
  bool copy_in_ = false;
  bool catalog_stale_ = false;
  // Why statements could not be judged as the session is set; it goes on only where policy allows everything.
  absl::Status unsafe_setting_;
  // False: something may be left on the connection that a reset does not remove, or may still reach it.
  bool leaves_nothing_ = true;
  bool masked_ = false;         // something was masked for a statement of this session
  bool client_hears_ = false;   // of ParameterStatus
  int64_t terms_revision_ = 0;  // of the policy whose terms the session was last brought to
  std::function<void(bool cancelled)> interrupt_hold_;
  // Lives as long as the relay, for timers that may outlive it.
  const std::shared_ptr<char> life_ = std::make_shared<char>();

  // Server side.
  std::string from_server_;  // the begin of a message
  size_t pass_to_client_ = 0;
  // Answers kept back for statements with a limit of affected rows.
  std::string withheld_complete_;
  std::string withheld_ready_;
  bool over_limit_ = false;
  OurResult ours_;

  reactor::Event answered_;
  bool ended_ = false;
  bool draining_ = false;
  Ending drain_ending_;
  std::string end_reason_;
  OnEnd on_end_;
};

// The fields of `refusal` as an ERROR for the client.
wire::ErrorFields ToErrorFields(const sidecar::Plan::Refusal& refusal);
// An ERROR of ours: "postern: …".
wire::ErrorFields PosternError(std::string_view sqlstate, std::string_view message, std::string_view detail,
                               std::string_view hint);
// For a spool that takes no record: 58030.
wire::ErrorFields AuditUnavailable(const absl::Status& status);

}  // namespace postern::session
