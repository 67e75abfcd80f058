// Writes numbers in words, like lesion_lens/model/wording.py and Python itself.

// Python's f"{value:.2f}". Python rounds a half to the even digit, toFixed rounds it away from zero.
export function fixed(value, decimals) {
  const longer = value.toFixed(decimals + 1);
  const isHalf = longer.endsWith("5") && Number.isInteger(value * 2 ** (decimals + 1));
  const shorter = longer.slice(0, decimals ? -1 : -2); // without the point, if nothing follows it
  return isHalf && /[02468]$/.test(shorter) ? shorter : value.toFixed(decimals);
}

// Python's str(round(value, decimals)) for a float of 0 or more.
export function rounded(value, decimals) {
  const near = Number(fixed(value, decimals));
  if (Number.isInteger(near)) return near.toFixed(1);
  if (near >= 1e-4) return String(near);
  const [digits, exponent] = near.toExponential().split("e-");
  return `${digits}e-${exponent.padStart(2, "0")}`;
}

// The filters of the templates. `words` and the numbers are from wording.py.
export function filtersOf({ words, months, all, none, longest_name }) {
  const fill = (key, values) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  return {
    percent(share, decimals = 0) {
      const step = 10 ** -decimals;
      if (100 * share >= 100 - step / 2) return fill("over_percent", { share: fixed(100 - step, decimals) });
      if (100 * share <= step / 2) return fill("under_percent", { share: fixed(step, decimals) });
      return fill("percent", { share: fixed(100 * share, decimals) });
    },
    about_in_100: (share) =>
      share <= none ? words.none_in_100 : fill("about_in_100", { count: fixed(100 * share, 0) }),
    of_100(share) {
      if (share >= all) return words.all_of_100;
      return share <= none ? words.none_of_100 : fixed(100 * share, 0);
    },
    thousands: (things) => String(things).replace(/\B(?=(\d{3})+$)/g, ","),
    in_words(today) {
      const [year, month, day] = today.split("-").map(Number);
      return fill("date", { day, month: months[month - 1], year });
    },
    shorten(name) {
      const signs = [...name]; // code points, as Python counts them
      if (signs.length <= longest_name) return name;
      const end = Math.floor(longest_name / 2);
      const [first, last] = [signs.slice(0, longest_name - end - 1), signs.slice(-end)];
      return fill("cut", {
        start: first.join("").replace(new RegExp(`${space}+$`), ""),
        end: last.join("").replace(new RegExp(`^${space}+`), ""),
      });
    },
  };
}

// What Python strips. JavaScript's idea of a space differs from it.
const space = "(?:[^\\S\\ufeff]|[\\x1c-\\x1f\\x85])";
