// Small text and file helpers of the CLI.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"

namespace postern::cli {

// Without leading and trailing white space.
std::string Trim(std::string_view text);

// "a,b , c" → {"a", "b", "c"}; empty parts are left out.
std::vector<std::string> SplitCommas(std::string_view text);

// Whole file. NOT_FOUND/FILE_UNREADABLE, which names the path.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// Writes `text` to `path` with mode 0600, by a temporary file and a rename, so that nobody reads half of it.
absl::Status WritePrivateFile(const std::string& path, std::string_view text);

// "90s", "5m", "1h30m", "2d". INVALID_ARGUMENT/USAGE otherwise.
absl::StatusOr<absl::Duration> ParseDuration(std::string_view text);

absl::Time FromProto(const google::protobuf::Timestamp& time);
google::protobuf::Timestamp ToProto(absl::Time time);
// "2026-03-02 15:04:05Z"; "-" when not set.
std::string FormatTime(const google::protobuf::Timestamp& time);

// With control characters replaced, so that text from elsewhere cannot drive the terminal.
std::string Printable(std::string_view text);

// `text` cut to `width` columns with "…".
std::string Clip(std::string_view text, size_t width);

// A failure in how the command was used: exit status 2.
absl::Status Usage(std::string_view message, std::string_view hint = {});

}  // namespace postern::cli
