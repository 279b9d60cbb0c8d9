package org.gemcut.demo.ui;

import android.app.Activity;
import android.content.Intent;
import android.database.Cursor;
import android.net.Uri;
import android.os.Bundle;
import android.provider.OpenableColumns;
import android.view.View;
import android.widget.Button;
import android.widget.LinearLayout;
import android.widget.TextView;
import java.io.FileNotFoundException;
import java.io.InputStream;
import java.util.List;
import org.gemcut.core.BundleException;
import org.gemcut.core.Progress;
import org.gemcut.demo.R;
import org.gemcut.demo.bundle.KeptBundle;
import org.gemcut.demo.session.Words;

/** The bundles on this phone, and where others come from: this app's assets, or a file that the person picks. */
public final class MainActivity extends Screen {
    private static final int PICK = 1;
    private static final String ANY = "*/*";

    @Override
    protected void onCreate(Bundle state) {
        super.onCreate(state);
        setContentView(R.layout.main);
        show(R.id.own, AssetFiles.present(getAssets()));
        button(R.id.own).setOnClickListener(new View.OnClickListener() {
            @Override
            public void onClick(View view) {
                addOwn();
            }
        });
        button(R.id.pick).setOnClickListener(new View.OnClickListener() {
            @Override
            public void onClick(View view) {
                Intent intent = new Intent(Intent.ACTION_OPEN_DOCUMENT);
                intent.addCategory(Intent.CATEGORY_OPENABLE);
                intent.setType(ANY);
                startActivityForResult(intent, PICK);
            }
        });
        button(R.id.cancel).setOnClickListener(new View.OnClickListener() {
            @Override
            public void onClick(View view) {
                stopWork();
            }
        });
    }

    @Override
    protected void onResume() {
        super.onResume();
        list();
    }

    private void list() {
        work(new Work() {
            @Override
            public void run() throws BundleException {
                final List<KeptBundle> kept = app().store().list();
                later(new Runnable() {
                    @Override
                    public void run() {
                        show(kept);
                    }
                });
            }
        });
    }

    private void show(List<KeptBundle> kept) {
        LinearLayout list = (LinearLayout) findViewById(R.id.list);
        list.removeAllViews();
        for (final KeptBundle each : kept) {
            Button button = new Button(this);
            button.setAllCaps(false);
            button.setText(each.model + "\n" + each.runtime + ", " + each.target + ", " + Words.megabytes(each.bytes));
            button.setOnClickListener(new View.OnClickListener() {
                @Override
                public void onClick(View view) {
                    startActivity(new Intent(MainActivity.this, BundleActivity.class).putExtra(BUNDLE, each.sha256));
                }
            });
            list.addView(button);
        }
        if (kept.isEmpty()) {
            TextView none = new TextView(this);
            none.setText(R.string.none);
            list.addView(none);
        }
    }

    private void addOwn() {
        busy(true);
        work(new Work() {
            @Override
            public void run() throws BundleException {
                AssetFiles files = new AssetFiles(getAssets(), getString(R.string.app_name));
                added(app().store().add(files, copying()));
            }
        });
    }

    @Override
    protected void onActivityResult(int request, int result, Intent data) {
        super.onActivityResult(request, result, data);
        final Uri uri = data == null ? null : data.getData();
        if (request != PICK || result != Activity.RESULT_OK || uri == null) {
            return;
        }
        busy(true);
        work(new Work() {
            @Override
            public void run() throws BundleException {
                added(addPicked(uri));
            }
        });
    }

    private String addPicked(Uri uri) throws BundleException {
        String name = uri.getLastPathSegment();
        long size = -1;
        Cursor about = getContentResolver().query(uri, null, null, null, null);
        if (about != null) {
            try {
                if (about.moveToFirst()) {
                    int column = about.getColumnIndex(OpenableColumns.DISPLAY_NAME);
                    name = column < 0 || about.isNull(column) ? name : about.getString(column);
                    column = about.getColumnIndex(OpenableColumns.SIZE);
                    size = column < 0 || about.isNull(column) ? size : about.getLong(column);
                }
            } finally {
                about.close();
            }
        }
        return app().store().addZip(open(uri), name == null ? "" : name, size, copying());
    }

    private InputStream open(Uri uri) throws BundleException {
        String why = "";
        try {
            InputStream found = getContentResolver().openInputStream(uri);
            if (found != null) {
                return found;
            }
        } catch (FileNotFoundException error) {
            why = String.valueOf(error.getMessage());
        } catch (SecurityException error) {
            why = String.valueOf(error.getMessage());
        }
        throw new BundleException(BundleException.Kind.STORAGE, getString(R.string.unreadable, why), "");
    }

    private Progress copying() {
        return progress(R.id.progress, R.id.message, new Label() {
            @Override
            public String of(long done, long total, String what) {
                return getString(R.string.copying, what);
            }
        });
    }

    private void added(final String sha256) {
        later(new Runnable() {
            @Override
            public void run() {
                busy(false);
                text(R.id.message).setText("");
                startActivity(new Intent(MainActivity.this, BundleActivity.class).putExtra(BUNDLE, sha256));
            }
        });
    }

    @Override
    void failed(BundleException error) {
        busy(false);
        text(R.id.message).setText(words(error));
    }

    private void busy(boolean busy) {
        show(R.id.progress, busy);
        show(R.id.cancel, busy);
        button(R.id.own).setEnabled(!busy);
        button(R.id.pick).setEnabled(!busy);
    }
}
