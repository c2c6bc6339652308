#include "common/obs/log.h"

#include <cstdint>
#include <memory>

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/errors.h"
#include "common/base/strings.h"

namespace postern::obs {
namespace {

spdlog::level::level_enum ToSpdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string_view Name(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "error";
}

// spdlog writes whole lines under its lock and drops none; what a line holds is decided by FormatLine alone.
std::shared_ptr<spdlog::logger> NewLogger(std::string_view component, Level level) {
  auto logger =
      std::make_shared<spdlog::logger>(std::string(component), std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_formatter(std::make_unique<spdlog::pattern_formatter>("%v"));
  logger->set_level(ToSpdlog(level));
  logger->flush_on(spdlog::level::trace);
  return logger;
}

// Never destroyed: threads may log while the process ends.
std::shared_ptr<spdlog::logger>& Logger() {
  static auto* const kLogger = new std::shared_ptr<spdlog::logger>(NewLogger("postern", Level::kWarning));
  return *kLogger;
}

// Bytes of the well-formed UTF-8 sequence at `text`'s start (RFC 3629); 0 if there is none.
size_t Utf8Length(std::string_view text) {
  const auto byte = [text](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0u; };
  const auto tail = [&byte](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return tail(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool overlong_or_surrogate = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f);
    return !overlong_or_surrogate && tail(1) && tail(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool out_of_range = (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f);
    return !out_of_range && tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

void AppendString(std::string& out, std::string_view text) {
  out.push_back('"');
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    const char c = text.front();
    if (length == 0) {
      out.append("\\ufffd");
    } else if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20 || c == '\x7f') {
      out.append(fmt::format("\\u{:04x}", static_cast<unsigned>(c)));
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out.push_back('"');
}

void AppendMember(std::string& out, std::string_view key, std::string_view value) {
  if (out.size() > 1) out.push_back(',');
  AppendString(out, key);
  out.push_back(':');
  AppendString(out, value);
}

}  // namespace

absl::Status ParseLevel(std::string_view text, Level* level) {
  for (const Level each : {Level::kDebug, Level::kInfo, Level::kWarning, Level::kError}) {
    if (text != Name(each)) continue;
    *level = each;
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kInvalidArgument, "LOG_LEVEL", fmt::format("there is no log level '{}'", text),
               "Choose debug, info, warning or error.");
}

void SetUpLogging(std::string_view component, Level level) { Logger() = NewLogger(component, level); }

std::string FormatLine(std::string_view time, std::string_view level, std::string_view component,
                       std::string_view message, Fields fields) {
  std::string line = "{";
  AppendMember(line, "time", time);
  AppendMember(line, "level", level);
  AppendMember(line, "component", component);
  AppendMember(line, "msg", message);
  for (const Field& field : fields) AppendMember(line, field.key, field.value);
  line.push_back('}');
  return line;
}

void Log(Level level, std::string_view message, Fields fields) {
  spdlog::logger& logger = *Logger();
  if (!logger.should_log(ToSpdlog(level))) return;

  const std::string time = absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", Clock::System().Now(), absl::UTCTimeZone());
  const std::string line = FormatLine(time, Name(level), logger.name(), message, fields);
  logger.log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

void LogStatus(Level level, std::string_view message, const absl::Status& status) {
  const std::string code = absl::StatusCodeToString(status.code());
  const std::string reason = ReasonOf(status);
  Log(level, message, {{"code", code}, {"reason", reason}, {"error", StdView(status.message())}});
}

}  // namespace postern::obs
