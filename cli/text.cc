#include "cli/text.h"

#include <cstdio>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/time/clock.h"
#include "common/base/errors.h"
#include "common/base/strings.h"
#include "fmt/format.h"

namespace postern::cli {

std::string Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kSpace) - begin + 1));
}

std::vector<std::string> SplitCommas(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    if (std::string part = Trim(text.substr(0, comma)); !part.empty()) parts.push_back(std::move(part));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return parts;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file || !text) {
    return Error(absl::StatusCode::kNotFound, "FILE_UNREADABLE", fmt::format("cannot read {}", path),
                 "check the path and its permissions");
  }
  return text.str();
}

absl::Status WritePrivateFile(const std::string& path, std::string_view text) {
  const std::string temporary = fmt::format("{}.{}.tmp", path, getpid());
  const auto failed = [&] {
    unlink(temporary.c_str());
    return Error(absl::StatusCode::kUnavailable, "FILE_UNWRITABLE", fmt::format("cannot write {}", path),
                 "check the folder and its permissions");
  };
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return failed();
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n <= 0) {
      close(fd);
      return failed();
    }
    text.remove_prefix(static_cast<size_t>(n));
  }
  if (fsync(fd) != 0 || close(fd) != 0 || rename(temporary.c_str(), path.c_str()) != 0) return failed();
  return absl::OkStatus();
}

absl::StatusOr<absl::Duration> ParseDuration(std::string_view text) {
  std::string plain(text);
  absl::Duration days = absl::ZeroDuration();
  // absl knows no days.
  if (const size_t d = plain.find('d'); d != std::string::npos && d > 0) {
    int64_t n = 0;
    for (const char c : plain.substr(0, d)) {
      if (c < '0' || c > '9' || n > 100'000) return Usage(fmt::format("{} is not a duration", text));
      n = n * 10 + (c - '0');
    }
    days = absl::Hours(24 * n);
    plain = plain.substr(d + 1);
    if (plain.empty()) return days;
  }
  absl::Duration rest;
  if (!absl::ParseDuration(plain, &rest) || rest < absl::ZeroDuration()) {
    return Usage(fmt::format("{} is not a duration", text), "write it as 90s, 5m or 1h30m");
  }
  return days + rest;
}

absl::Time FromProto(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp proto;
  const int64_t seconds = absl::ToUnixSeconds(time);
  proto.set_seconds(seconds);
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return proto;
}

std::string FormatTime(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0 && time.nanos() == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%SZ", FromProto(time), absl::UTCTimeZone());
}

std::string Printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += (byte < 0x20 || byte == 0x7f) ? ' ' : c;
  }
  return out;
}

std::string Clip(std::string_view text, size_t width) {
  size_t columns = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) == 0x80) continue;
    if (++columns > width) {
      // Room for the ellipsis: drop the last whole character.
      size_t end = i;
      while (end > 0 && (static_cast<unsigned char>(text[--end]) & 0xc0) == 0x80) {
      }
      return std::string(text.substr(0, end)) + "…";
    }
  }
  return std::string(text);
}

absl::Status Usage(std::string_view message, std::string_view hint) {
  return Error(absl::StatusCode::kInvalidArgument, "USAGE", message, hint);
}

}  // namespace postern::cli
