package org.gemcut.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;
import static org.junit.Assert.fail;

import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

/** A small bundle in memory, as an app's assets are: neither folder nor zip, and sizes that aren't known. */
public class BundleTest {
    @Rule
    public final TemporaryFolder folder = new TemporaryFolder();

    private static final byte[] PROGRAM = new byte[3 << 20];

    private static final class Assets implements BundleFiles {
        final Map<String, byte[]> files = new TreeMap<String, byte[]>();
        boolean breaks;
        boolean closed;

        @Override
        public String title() {
            return "the app's own bundle";
        }

        @Override
        public Set<String> names() {
            return files.keySet();
        }

        @Override
        public InputStream open(String name) throws IOException {
            if (breaks && name.equals("model.pte")) {
                throw new IOException("the card was pulled out");
            }
            return new ByteArrayInputStream(files.get(name));
        }

        @Override
        public long size(String name) {
            return -1;
        }

        @Override
        public File onDisk(String name) {
            return null;
        }

        @Override
        public void close() {
            closed = true;
        }
    }

    private static Assets assets() {
        Assets all = new Assets();
        all.files.put("model.pte", PROGRAM);
        all.files.put("LICENSE", Hash.ascii("Do as you like.\n"));
        StringBuilder files = new StringBuilder();
        for (Map.Entry<String, byte[]> one : all.files.entrySet()) {
            files.append(files.length() == 0 ? "" : ",").append('"').append(one.getKey()).append("\":{\"sha256\":\"")
                    .append(Hash.of(one.getValue())).append("\",\"size\":").append(one.getValue().length).append('}');
        }
        byte[] manifest = ("{\"format\":\"gemcut-bundle\",\"schema_version\":1,\"model\":{\"name\":\"toy\"},"
                + "\"target\":\"android-arm64\",\"runtime\":{\"name\":\"executorch\",\"version\":\"1.5.1\"},"
                + "\"recipe\":{\"name\":\"int4\",\"rules\":[]},\"program\":\"model.pte\",\"context\":64,"
                + "\"prefill_chunk\":8,\"vocab_size\":10,\"files\":{" + files + "}}").getBytes(StandardCharsets.UTF_8);
        all.files.put("manifest.json", manifest);
        all.files.put("manifest.sha256", Hash.ascii(Hash.of(manifest) + "  manifest.json\n"));
        return all;
    }

    private interface Attempt {
        void run() throws Exception;
    }

    private static BundleException refused(Attempt attempt) throws Exception {
        try {
            attempt.run();
        } catch (BundleException error) {
            return error;
        }
        throw new AssertionError("it was taken");
    }

    @Test
    public void assetsAreVerifiedReadAndCopied() throws Exception {
        Assets files = assets();
        Bundle bundle = Bundle.open(files);
        bundle.verify(Progress.NONE);
        assertEquals("Do as you like.\n", bundle.text("LICENSE"));
        assertEquals(-1, bundle.manifest.bosId);
        assertFalse(bundle.manifest.templateBos);
        File program = bundle.file("model.pte", folder.getRoot(), Progress.NONE);
        assertEquals(PROGRAM.length, program.length());
        bundle.close();
        assertTrue(files.closed);
    }

    @Test
    public void whoStopsItGetsNoHalfFile() throws Exception {
        final Bundle bundle = Bundle.open(assets());
        final Progress impatient = new Progress() {
            @Override
            public boolean update(long done, long total, String what) {
                return done < 2 << 20;
            }
        };
        BundleException stopped = refused(new Attempt() {
            @Override
            public void run() throws Exception {
                bundle.verify(impatient);
            }
        });
        assertEquals(BundleException.Kind.STOPPED, stopped.kind());
        stopped = refused(new Attempt() {
            @Override
            public void run() throws Exception {
                bundle.file("model.pte", folder.getRoot(), impatient);
            }
        });
        assertEquals(BundleException.Kind.STOPPED, stopped.kind());
        File[] inside = folder.getRoot().listFiles()[0].listFiles();
        assertArrayEquals(new File[0], inside);
    }

    @Test
    public void aCopyOfWhatIsDamagedIsNotKept() throws Exception {
        final Assets files = assets();
        final Bundle bundle = Bundle.open(files);
        byte[] other = PROGRAM.clone();
        other[other.length - 1] = 1;
        for (byte[] bad : Arrays.asList(other, Arrays.copyOf(PROGRAM, 9), Arrays.copyOf(PROGRAM, 4 << 20))) {
            files.files.put("model.pte", bad);
            BundleException error = refused(new Attempt() {
                @Override
                public void run() throws Exception {
                    bundle.file("model.pte", folder.getRoot(), Progress.NONE);
                }
            });
            assertEquals(BundleException.Kind.DAMAGED, error.kind());
            assertTrue(error.getMessage(), error.getMessage().contains("model.pte"));
            assertEquals(0, folder.getRoot().listFiles()[0].listFiles().length);
        }
        files.breaks = true;
        BundleException error = refused(new Attempt() {
            @Override
            public void run() throws Exception {
                bundle.verify(Progress.NONE);
            }
        });
        assertTrue(error.getMessage(), error.getMessage().contains("model.pte can't be read: the card was pulled out"));
    }

    @Test
    public void aManifestThatChangedSinceIsNoticed() throws Exception {
        final Assets files = assets();
        final Bundle bundle = Bundle.open(files);
        byte[] other = new String(files.files.get("manifest.json"), StandardCharsets.UTF_8)
                .replace("\"context\":64", "\"context\":65").getBytes(StandardCharsets.UTF_8);
        files.files.put("manifest.json", other);
        files.files.put("manifest.sha256", Hash.ascii(Hash.of(other) + "  manifest.json\n"));
        BundleException error = refused(new Attempt() {
            @Override
            public void run() throws Exception {
                bundle.verify(Progress.NONE);
            }
        });
        assertTrue(error.getMessage(), error.getMessage().contains("changed since it was opened"));
    }

    @Test
    public void namesThatLeadOutsideAreUnsafe() {
        String[] bad = {"", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "c:\\x", "C:/x", "a\0b"};
        for (String name : bad) {
            assertFalse(name, Manifest.safe(name));
        }
        for (String name : new String[] {"a", "goldens/goldens.jsonl", "..a", "a:b/c".substring(2), "\u00e9/x y"}) {
            assertTrue(name, Manifest.safe(name));
        }
    }

    @Test
    public void jsonIsStrict() {
        for (String text : new String[] {"{\"a\":1} x", "{a:1}", "{\"a\":1,}", "// no\n{}", "", "[1", "{\"a\":NaN}"}) {
            try {
                Json.parse(text, "x.json");
                fail("taken: " + text);
            } catch (BundleException error) {
                assertTrue(error.getMessage().contains("x.json"));
            }
        }
    }
}
