#include "sidecar/session/warm_pool.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/fields.h"
#include "common/crypto/hash.h"
#include "sidecar/reactor/deadline.h"
#include "sidecar/wire/backend.h"
#include "sidecar/wire/build.h"
#include "sidecar/wire/framing.h"

namespace postern::session {
namespace {

using reactor::Stream;
using reactor::Task;

constexpr absl::Duration kResetTimeout = absl::Seconds(5);
constexpr size_t kMaxAnswerBytes = 64 << 10;

// What DISCARD ALL should have removed. Every name is qualified: nothing here depends on search_path.
constexpr std::string_view kLeftovers =
    "SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_statements),"
    " (SELECT pg_catalog.count(*) FROM pg_catalog.pg_cursors),"
    " (SELECT pg_catalog.count(*) FROM pg_catalog.pg_listening_channels()),"
    " (SELECT pg_catalog.count(*) FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'),"
    " session_user, current_user";

// The values of a DataRow in text format; NULL is empty.
std::vector<std::string> Values(std::string_view body) {
  std::vector<std::string> values;
  size_t at = 2;
  while (at + 4 <= body.size()) {
    int32_t length = 0;
    for (size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<uint8_t>(body[at + i]);
    at += 4;
    const size_t size = length < 0 ? 0 : static_cast<size_t>(length);
    if (size > body.size() - at) return {};
    values.emplace_back(body.substr(at, size));
    at += size;
  }
  return values;
}

// Reads the answers to the two queries of a reset.
class ResetAnswers {
 public:
  // False: the connection cannot be kept.
  bool Take(const wire::Message& message) {
    switch (message.type) {
      case 'C':
        ++completed_;
        return true;
      case 'D':
        values_ = Values(message.body);
        return true;
      case 'S':
      case 'T':
        return true;
      case 'Z':
        ++ready_;
        return wire::ParseReady(message.body) == 'I';
      default:
        return false;  // an error, or something that nobody asked for
    }
  }
  bool done() const { return ready_ == 2; }
  bool Clean(const UpstreamConnection& connection) const {
    if (completed_ != 2 || values_.size() != 6) return false;
    for (size_t i = 0; i < 4; ++i) {
      if (values_[i] != "0") return false;
    }
    return values_[4] == connection.user && values_[5] == connection.role;
  }

 private:
  int completed_ = 0;
  int ready_ = 0;
  std::vector<std::string> values_;
};

// Runs the reset. False: the connection cannot be kept.
Task<bool> ResetSession(UpstreamConnection* connection) {
  Stream& stream = *connection->stream;
  wire::AppendQuery("DISCARD ALL", &stream.out());
  wire::AppendQuery(kLeftovers, &stream.out());
  stream.Flush();
  std::string in;
  ResetAnswers answers;
  while (!answers.done()) {
    co_await stream.Readable();
    if (stream.Read(&in) == reactor::ReadResult::kClosed || in.size() > kMaxAnswerBytes) co_return false;
    size_t at = 0;
    wire::Message message;
    wire::Read read = wire::Read::kNeedMore;
    while ((read = wire::ReadBackend(std::string_view(in).substr(at), &message)) == wire::Read::kMessage) {
      if (answers.done() || !answers.Take(message)) co_return false;
      at += message.whole.size();
    }
    if (read == wire::Read::kMalformed) co_return false;
    in.erase(0, at);
  }
  co_return in.empty() && answers.Clean(*connection);
}

void Terminate(UpstreamConnection* connection) {
  wire::AppendTerminate(&connection->stream->out());
  connection->stream->Flush();
  connection->stream->Close();
}

}  // namespace

std::string WarmPool::KeyOf(const UpstreamRequest& request) {
  std::string key;
  AppendField(request.target.name(), &key);
  AppendField(request.target.host(), &key);
  AppendField(std::to_string(request.target.port()), &key);
  AppendField(request.target.tls_mode(), &key);
  AppendField(request.target.tls_ca_pem(), &key);
  AppendField(request.database, &key);
  AppendField(request.user, &key);
  AppendField(crypto::Sha256(request.password.Expose()), &key);
  for (const auto& [name, value] : request.parameters) {
    AppendField(name, &key);
    AppendField(value, &key);
  }
  return key;
}

std::optional<UpstreamConnection> WarmPool::Take(const std::string& key) {
  for (auto idle = idle_.begin(); idle != idle_.end();) {
    if (idle->connection.warm_key != key) {
      ++idle;
      continue;
    }
    loop_.CancelTimer(idle->timer);
    UpstreamConnection connection = std::move(idle->connection);
    idle = idle_.erase(idle);
    connection.stream->OnHangup(nullptr);
    // A server that has something to say to an idle session is about to end it.
    if (connection.stream->Quiet()) return connection;
    connection.stream->Close();
  }
  return std::nullopt;
}

void WarmPool::Return(UpstreamConnection connection) {
  const bool old = loop_.clock().Monotonic() - connection.opened > limits_.age;
  if (old || idle_.size() + resetting_ >= limits_.connections) {
    Terminate(&connection);
    return;
  }
  ++resetting_;
  reactor::Detach(Reset(this, std::move(connection)));
}

Task<void> WarmPool::Reset(WarmPool* pool, UpstreamConnection connection) {
  bool clean = false;
  {
    const reactor::Deadline deadline(pool->loop_, kResetTimeout, connection.stream.get());
    clean = co_await ResetSession(&connection);
  }
  --pool->resetting_;
  if (clean && !connection.stream->closed()) {
    pool->Keep(std::move(connection));
  } else {
    Terminate(&connection);
  }
}

void WarmPool::Keep(UpstreamConnection connection) {
  const uint64_t id = next_id_++;
  // The stream is inside its own call then, so it is dropped a moment later.
  connection.stream->OnHangup([this, id] { loop_.Post([this, id] { Drop(id); }); });
  const auto timer = loop_.After(limits_.idle, [this, id] { Drop(id); });
  idle_.push_front({.id = id, .connection = std::move(connection), .timer = timer});
}

void WarmPool::Drop(uint64_t id) {
  const auto idle = std::find_if(idle_.begin(), idle_.end(), [id](const Idle& each) { return each.id == id; });
  if (idle == idle_.end()) return;
  loop_.CancelTimer(idle->timer);
  Terminate(&idle->connection);
  idle_.erase(idle);
}

void WarmPool::Clear() {
  while (!idle_.empty()) Drop(idle_.front().id);
}

}  // namespace postern::session
