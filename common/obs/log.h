// The daemons' own log: one JSON object a line on stderr, for the host's collector. Not the audit log: nothing here is
// proof of anything, and nothing here holds a statement, a value, a token or a password.
//
//   obs::LogInfo("sidecar joined", {{"sidecar", id}, {"targets", targets}});
//   {"time":"2026-03-02T10:00:00.123456Z","level":"info","component":"postern-controlplane","msg":"sidecar joined",…}
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace postern::obs {

enum class Level { kDebug, kInfo, kWarning, kError };

// "debug", "info", "warning", "error". INVALID_ARGUMENT/LOG_LEVEL for anything else.
absl::Status ParseLevel(std::string_view text, Level* level);

// Once, at the start of main(). Until then only warnings and errors are written, under the component "postern".
void SetUpLogging(std::string_view component, Level level);

struct Field {
  std::string_view key;
  std::string_view value;
};
using Fields = std::initializer_list<Field>;

// Thread-safe. Control characters and broken UTF-8 in any text are escaped, so that a line is always one line.
void Log(Level level, std::string_view message, Fields fields = {});

inline void LogDebug(std::string_view message, Fields fields = {}) { Log(Level::kDebug, message, fields); }
inline void LogInfo(std::string_view message, Fields fields = {}) { Log(Level::kInfo, message, fields); }
inline void LogWarning(std::string_view message, Fields fields = {}) { Log(Level::kWarning, message, fields); }
inline void LogError(std::string_view message, Fields fields = {}) { Log(Level::kError, message, fields); }

// Code, reason and message of a failure, as `code`, `reason` and `error`.
void LogStatus(Level level, std::string_view message, const absl::Status& status);

// What Log() writes for these, without the line feed: for tests.
std::string FormatLine(std::string_view time, std::string_view level, std::string_view component,
                       std::string_view message, Fields fields);

}  // namespace postern::obs
