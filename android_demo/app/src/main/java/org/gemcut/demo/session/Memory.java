package org.gemcut.demo.session;

import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

/** This process's memory, in bytes, as the kernel counts it (proc(5), /proc/self/status). */
public final class Memory {
    private Memory() {}

    /** Resident now; 0 where the kernel doesn't say. */
    public static long now() {
        return read("VmRSS:");
    }

    /** Resident at most since the process began; 0 where the kernel doesn't say. */
    public static long peak() {
        return read("VmHWM:");
    }

    private static long read(String key) {
        try {
            BufferedReader lines = new BufferedReader(
                    new InputStreamReader(new FileInputStream("/proc/self/status"), StandardCharsets.US_ASCII));
            try {
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                    if (line.startsWith(key)) {
                        return 1024 * Long.parseLong(line.substring(key.length()).replace("kB", "").trim());
                    }
                }
            } finally {
                lines.close();
            }
        } catch (IOException error) {
            return 0;
        } catch (NumberFormatException error) {
            return 0;
        }
        return 0;
    }
}
