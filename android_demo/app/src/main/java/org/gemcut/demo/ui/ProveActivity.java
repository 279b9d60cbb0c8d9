package org.gemcut.demo.ui;

import android.app.Activity;
import android.app.ActivityManager;
import android.content.Context;
import android.content.Intent;
import android.content.pm.ApplicationInfo;
import android.net.Uri;
import android.os.Build;
import android.os.Bundle;
import android.view.View;
import android.view.WindowManager;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.gemcut.core.BundleException;
import org.gemcut.core.Progress;
import org.gemcut.core.VerdictFile;
import org.gemcut.demo.BuildConfig;
import org.gemcut.demo.R;
import org.gemcut.demo.bundle.CheckedBundle;
import org.gemcut.demo.engine.Engine;
import org.gemcut.demo.session.NativeLibrary;
import org.gemcut.demo.session.Prove;

/** "Prove on this phone": replays the bundle's goldens, says what came out, and saves the verdict where one likes. */
public final class ProveActivity extends Screen {
    private static final int SAVE = 1;
    private static final String TYPE = "application/json";
    private static final String NAME = "gemcut-verdict.json";
    /** What the Android emulator calls its hardware, of today and before Android 8. */
    private static final List<String> EMULATORS = Arrays.asList("ranchu", "goldfish");
    private static final String WORDS = "words";

    private String words;

    @Override
    protected void onCreate(Bundle state) {
        super.onCreate(state);
        setContentView(R.layout.prove);
        button(R.id.cancel).setOnClickListener(new View.OnClickListener() {
            @Override
            public void onClick(View view) {
                stopWork();
                finish();
            }
        });
        button(R.id.save).setOnClickListener(new View.OnClickListener() {
            @Override
            public void onClick(View view) {
                Intent intent = new Intent(Intent.ACTION_CREATE_DOCUMENT);
                intent.addCategory(Intent.CATEGORY_OPENABLE);
                intent.setType(TYPE);
                intent.putExtra(Intent.EXTRA_TITLE, NAME);
                startActivityForResult(intent, SAVE);
            }
        });
        File kept = verdictFile();
        words = state == null ? null : state.getString(WORDS);
        if (words != null && kept.isFile()) {
            show();
        } else {
            prove();
        }
    }

    private void prove() {
        getWindow().addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON);
        final String sha256 = getIntent().getStringExtra(BUNDLE);
        work(new Work() {
            @Override
            public void run() throws BundleException {
                CheckedBundle bundle = app().open(sha256, Progress.NONE);
                VerdictFile.About about = about();
                Prove.Outcome outcome;
                try {
                    Engine engine = app().engine();
                    about.memoryBefore = app().memoryBefore();
                    outcome = Prove.run(bundle, engine, about, proving());
                } catch (BundleException error) {
                    about.runtimeName = bundle.manifest().runtimeName;
                    about.runtimeVersion = BuildConfig.EXECUTORCH;
                    about.memoryBefore = app().memoryBefore();
                    outcome = Prove.refused(bundle, error, about);
                }
                VerdictFile.write(verdictFile(), outcome.verdict);
                words = outcome.words;
                later(new Runnable() {
                    @Override
                    public void run() {
                        show();
                    }
                });
            }
        });
    }

    private File verdictFile() {
        return new File(getCacheDir(), getIntent().getStringExtra(BUNDLE) + ".verdict.json");
    }

    private Progress proving() {
        return progress(R.id.progress, R.id.message, new Label() {
            @Override
            public String of(long done, long total, String what) {
                return getString(R.string.proving, Math.min(done + 1, total), total, what);
            }
        });
    }

    private void show() {
        text(R.id.message).setText(words);
        show(R.id.progress, false);
        show(R.id.cancel, false);
        button(R.id.save).setEnabled(true);
        getWindow().clearFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON);
    }

    private VerdictFile.About about() {
        VerdictFile.About about = new VerdictFile.About();
        about.maker = Build.MANUFACTURER;
        about.model = Build.MODEL;
        about.system = "Android " + Build.VERSION.RELEASE;
        about.abi = Build.SUPPORTED_ABIS[0];
        about.cpu = Build.HARDWARE;
        about.emulated = EMULATORS.contains(Build.HARDWARE);
        about.cores = Runtime.getRuntime().availableProcessors();
        ActivityManager.MemoryInfo memory = new ActivityManager.MemoryInfo();
        ((ActivityManager) getSystemService(Context.ACTIVITY_SERVICE)).getMemoryInfo(memory);
        about.memory = memory.totalMem;
        about.appId = BuildConfig.APPLICATION_ID;
        about.appVersion = BuildConfig.VERSION_NAME;
        ApplicationInfo info = getApplicationInfo();
        List<File> packages = new ArrayList<File>();
        packages.add(new File(info.sourceDir));
        if (info.splitSourceDirs != null) {
            for (String each : info.splitSourceDirs) {
                packages.add(new File(each));
            }
        }
        about.librarySha256 = NativeLibrary.sha256(
                NativeLibrary.EXECUTORCH, new File(info.nativeLibraryDir), packages, about.abi);
        return about;
    }

    @Override
    protected void onActivityResult(int request, int result, Intent data) {
        super.onActivityResult(request, result, data);
        Uri uri = data == null ? null : data.getData();
        if (request == SAVE && result == Activity.RESULT_OK && uri != null) {
            save(uri);
        }
    }

    private void save(final Uri uri) {
        work(new Work() {
            @Override
            public void run() throws BundleException {
                try {
                    copy(uri);
                } catch (IOException error) {
                    throw new BundleException(BundleException.Kind.STORAGE,
                            getString(R.string.unwritten, String.valueOf(error.getMessage())), "", error);
                }
                later(new Runnable() {
                    @Override
                    public void run() {
                        text(R.id.message).setText(words + "\n\n" + getString(R.string.saved));
                    }
                });
            }
        });
    }

    private void copy(Uri uri) throws IOException {
        OutputStream out = getContentResolver().openOutputStream(uri, "wt");
        if (out == null) {
            throw new IOException(uri.toString());
        }
        try {
            Files.copy(verdictFile().toPath(), out);
        } finally {
            out.close();
        }
    }

    @Override
    protected void onSaveInstanceState(Bundle state) {
        super.onSaveInstanceState(state);
        state.putString(WORDS, words);
    }

    @Override
    void failed(BundleException error) {
        show(R.id.progress, false);
        text(R.id.message).setText(words == null ? words(error) : words + "\n\n" + words(error));
    }
}
